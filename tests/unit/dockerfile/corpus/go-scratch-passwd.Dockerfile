FROM golang:1.23 AS build
RUN echo "nobody:x:65534:65534:Nobody:/:" > /etc_passwd
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -o /server ./cmd/server
FROM scratch
COPY --from=build /etc_passwd /etc/passwd
COPY --from=build /server /server
USER nobody
ENTRYPOINT ["/server"]
