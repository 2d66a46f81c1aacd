FROM scratch
ENV IMAGE=registry.example:5000/team/app:v1.2.3 EMPTY=
USER ${IMAGE##*/}-${IMAGE%%:*}-${IMAGE#*/}-${IMAGE%:*}-${EMPTY:-x}${EMPTY-y}${NONE-z}${EMPTY:+p}${EMPTY+q}${IMAGE:+r}
