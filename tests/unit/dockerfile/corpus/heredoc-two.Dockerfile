FROM alpine:3.20
COPY <<a.conf <<-"b.conf" /etc/app/
USER one
a.conf
	USER two
	b.conf
USER 3000
