# Keeps trying, so that the Pod is Running either way, and its log tells which way it was. Writes nowhere else: a
# read-only root file system must not look like a volume that cannot be written.
said=
while :; do
    if error=$(touch /data/written 2>&1); then
        now="wrote /data/written as $(id)"
    else
        now="cannot write: $error"
    fi
    [ "$now" = "$said" ] || echo "$now"
    said=$now
    sleep 1
done
