FROM python:3.12-slim
RUN useradd -u 1000 app
USER app
RUN apt-get update && \
    apt-get install -y gcc
RUN mkdir /data
RUN sudo apt-get install -y vim
RUN mkdir ~/cache && pip install --user flask
CMD ["python"]
