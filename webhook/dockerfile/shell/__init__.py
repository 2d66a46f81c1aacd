"""The shell scripts of RUN: their commands, and the options of useradd and its like."""
