FROM eclipse-temurin:21-jre
RUN groupadd -g 1001 invtl && useradd -u 1001 -g invtl invtl
COPY target/app.jar /opt/app.jar
USER 1001
ENTRYPOINT ["java", "-jar", "/opt/app.jar"]
