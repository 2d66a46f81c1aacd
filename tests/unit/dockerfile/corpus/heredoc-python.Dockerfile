FROM python:3.12-slim
RUN python3 <<EOF
print("useradd -u 5 app")
USER = "root"
EOF
RUN <<EOF
#!/usr/bin/env python3
import os
EOF
USER 5000
