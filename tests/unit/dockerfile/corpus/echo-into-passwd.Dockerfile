FROM busybox:1.36
RUN echo 'web:x:8080:8080::/:/bin/false' >> /etc/passwd
USER web
