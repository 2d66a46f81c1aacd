"""Shell scripts in RUN -> commands, and the options of useradd and its like."""
