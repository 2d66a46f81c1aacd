FROM node:22
RUN usermod -u 2001 node && groupmod -g 2001 node
USER node
