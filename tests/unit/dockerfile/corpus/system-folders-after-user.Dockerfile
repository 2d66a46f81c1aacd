FROM debian:12-slim
USER 1000
RUN echo "x=1" > /etc/app.conf \
 && cp app.conf /usr/local/etc/ \
 && ln -s /usr/bin/python3 /usr/local/bin/python
