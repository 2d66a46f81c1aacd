# a comment first
# escape=`
FROM scratch
USER a`b
