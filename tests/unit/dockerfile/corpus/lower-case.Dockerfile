from scratch as Base
arg uid=1000
user ${uid}
From base
cmd ["/x"]
