FROM ruby:3.3 AS build
RUN apt-get update && apt-get install -y build-essential libpq-dev
WORKDIR /app
COPY Gemfile Gemfile.lock ./
RUN bundle install --deployment
COPY . .

FROM ruby:3.3-slim
RUN apt-get update && apt-get install -y libpq5
WORKDIR /app
COPY --from=build /app /app
CMD ["bundle", "exec", "puma"]
