FROM scratch
USER   app  team   
