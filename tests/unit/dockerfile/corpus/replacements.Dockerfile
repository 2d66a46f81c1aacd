FROM scratch
ENV V=a.b.c/d
USER ${V/./-}_${V//./-}_${V/\//+}_${V//?/x}_${V/b*/}
