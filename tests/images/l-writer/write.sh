# Keeps trying, so that the Pod is Running either way and its log and /tmp/written tell which way it was.
while :; do
    if touch /data/written 2>/tmp/error; then
        [ -e /tmp/written ] || echo "wrote /data/written as $(id)"
        touch /tmp/written
    else
        echo "cannot write: $(cat /tmp/error)"
    fi
    sleep 1
done
