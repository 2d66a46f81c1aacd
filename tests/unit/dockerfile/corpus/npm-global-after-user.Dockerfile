FROM node:22
USER node
RUN npm install -g pnpm
