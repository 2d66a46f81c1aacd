FROM fedora:41
ARG APP_UID=10002
ENV APP_USER=svc
RUN useradd --uid ${APP_UID} --create-home ${APP_USER}
USER ${APP_USER}
