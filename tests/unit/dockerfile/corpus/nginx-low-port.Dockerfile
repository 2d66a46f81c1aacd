FROM nginx:1.27
RUN sed -i 's/user  nginx;//' /etc/nginx/nginx.conf
EXPOSE 80 443/tcp 8080
USER nginx
