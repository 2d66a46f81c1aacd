FROM mcr.microsoft.com/dotnet/runtime:8.0
COPY out/ /app/
USER app
ENTRYPOINT ["dotnet", "/app/worker.dll"]
