"use strict";
// The page is complete without this. It adds sorting, filtering and copying, and shows long tables in parts.

const PART = 200; // rows of a table that are laid out at once; printing shows them all
const natural = new Intl.Collator("en", { numeric: true });
const number = new Intl.NumberFormat("en");

/** The rows of one table: their order, which of them are wanted, and how many of those are shown. */
class Rows {
  constructor(table) {
    this.body = table.tBodies[0];
    this.all = [...this.body.rows];
    this.limit = PART;
    this.wanted = () => true;
    this.more = element("button", "more", "");
    this.more.addEventListener("click", () => this.show(this.limit + PART));
    table.parentElement.after(this.more);
    for (const heading of table.tHead.rows[0].cells) this.makeSortable(heading);
    this.show();
  }

  makeSortable(heading) {
    const button = element("button", "sort", heading.textContent);
    button.addEventListener("click", () => this.sort(heading));
    heading.replaceChildren(button);
  }

  /** By a column: text as people read it, a number's highest first; a second time, the other way round. */
  sort(heading) {
    const first = heading.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? second : first;
    for (const each of heading.parentElement.cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = this.all.map((row) => [key(row.cells[heading.cellIndex]), row]);
    keyed.sort(([one], [other]) => sign * natural.compare(one, other));
    this.all = keyed.map(([, row]) => row);
    this.body.append(...this.all);
    this.show();
    announce(`Sorted by ${heading.textContent}, ${order}`);
  }

  /** Show the first `limit` of the wanted rows; how many are wanted. */
  show(limit = PART) {
    this.limit = limit;
    let count = 0;
    for (const row of this.all) {
      row.hidden = !this.wanted(row);
      if (row.hidden) continue;
      count += 1;
      row.classList.toggle("later", count > limit);
      if (count <= limit) addCopyButtons(row);
    }
    this.more.hidden = count <= limit;
    this.more.textContent = `Show ${number.format(Math.min(PART, count - limit))} more of ${number.format(count - limit)}`;
    return count;
  }
}

/** A form over one table: every word of its text must be in the row, and each choice must be its column's text. */
class Filter {
  constructor(form, rows) {
    this.form = form;
    this.rows = rows;
    this.status = form.querySelector("[role=status]");
    this.text = new Map(); // of a row, once somebody filters
    form.hidden = false;
    form.addEventListener("input", () => this.apply());
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => this.apply()));
    document.addEventListener("click", (event) => this.follow(event));
    this.apply();
  }

  apply() {
    const words = this.form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const choices = [...this.form.querySelectorAll("select")].filter((each) => each.value);
    this.rows.wanted = (row) =>
      choices.every((each) => row.cells[each.dataset.column].textContent === each.value) &&
      words.every((word) => this.textOf(row).includes(word));
    const count = this.rows.show();
    const terms = [...choices.map((each) => each.value), ...(words.length ? [`“${words.join(" ")}”`] : [])];
    const filtered = terms.length ? `: ${terms.join(", ")}` : "";
    this.status.textContent = `${number.format(count)} of ${number.format(this.rows.all.length)}${filtered}`;
  }

  textOf(row) {
    if (!this.text.has(row)) this.text.set(row, row.textContent.toLowerCase());
    return this.text.get(row);
  }

  /** A link with `data-show=NAME` sets the field of that name, clears the others, and leads to the table. */
  follow(event) {
    const link = event.target.closest("a[data-show]");
    if (!link) return;
    this.form.reset();
    this.form.elements[link.dataset.show].value = link.dataset.value;
    this.apply();
  }
}

function key(cell) {
  return cell.dataset.key ?? cell.textContent;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  if (name === "button") made.type = "button";
  return made;
}

/** A button after each line that is there to be copied; a row gets them when it is first shown. */
function addCopyButtons(row) {
  if (row.dataset.dressed) return;
  row.dataset.dressed = "yes";
  for (const code of row.querySelectorAll("code.line")) {
    const button = element("button", "copy", ""); // its word is the style's, or filters would find it
    button.setAttribute("aria-label", `Copy ${code.textContent}`);
    button.addEventListener("click", () => copy(code, button));
    code.after(button);
  }
}

async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent.trimEnd());
    announce("Copied");
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 2000);
  } catch {
    getSelection().selectAllChildren(code); // no clipboard here: one keystroke is left to do
    announce("Selected; copy it with the keyboard");
  }
}

function announce(text) {
  document.getElementById("announcement").textContent = text;
}

const tables = new Map([...document.querySelectorAll("table.sortable")].map((table) => [table, new Rows(table)]));
for (const form of document.querySelectorAll("form.filter")) {
  new Filter(form, tables.get(document.getElementById(form.dataset.table)));
}
