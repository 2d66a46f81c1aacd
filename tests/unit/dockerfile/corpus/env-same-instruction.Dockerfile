FROM scratch
ENV A=one
ENV A=two B=$A
USER $B
