FROM python:3.12-slim
RUN useradd -u 1000 app && python -m venv /venv && chown -R app /venv
ENV PATH=/venv/bin:$PATH
USER 1000
RUN pip install flask
