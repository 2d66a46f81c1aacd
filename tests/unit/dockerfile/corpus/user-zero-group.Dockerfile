FROM registry.access.redhat.com/ubi9/ubi-minimal:9.4
RUN microdnf install -y nginx && microdnf clean all
USER 0:0
CMD ["nginx"]
