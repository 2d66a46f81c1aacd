FROM node:22
USER node
WORKDIR /home/node/app
USER root
RUN apt-get update && apt-get install -y ffmpeg && mkdir /media/in && chown node /media/in
USER node
RUN mkdir /media/in/tmp && npm ci
