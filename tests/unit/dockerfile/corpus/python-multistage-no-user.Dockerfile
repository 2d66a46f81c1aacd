FROM python:3.11 as builder
COPY requirements.txt .
RUN pip wheel -r requirements.txt -w /wheels
FROM python:3.11-slim
COPY --from=builder /wheels /wheels
RUN pip install --no-index --find-links=/wheels /wheels/*
COPY src /app
CMD python /app/main.py
