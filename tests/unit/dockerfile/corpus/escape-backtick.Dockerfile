# escape=`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
ENV DIR=C:\app\
WORKDIR C:\app
RUN copy a.txt `
    b.txt
USER ContainerUser
