FROM alpine:3.20 AS alpine
USER 1212
FROM alpine
CMD ["sh"]
