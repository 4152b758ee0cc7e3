//! Files that are served as they are, or after a tool has made them.

use super::{body, detected};
use crate::file::Language;

#[test]
fn a_static_site_is_served_as_it_is() {
    let site = detected(&[("index.html", "hello"), ("temps.toml", "")]);
    assert_eq!((site.language, site.port, site.port_is_fixed), (Language::Static, 8080, true));
    assert_eq!(site.left_out, ["**/.*", "!.well-known", "temps.toml"]);
    assert_eq!(
        body(&[("index.html", "hello")]),
        "\
FROM nginxinc/nginx-unprivileged:stable-alpine
COPY . /usr/share/nginx/html
EXPOSE 8080
"
    );
}

#[test]
fn pages_that_a_tool_builds_are_served_from_where_it_puts_them() {
    let package = r#"{
        "scripts": { "dev": "vite", "build": "vite build" },
        "devDependencies": { "vite": "^6" },
        "engines": { "node": ">=20 <23" }
    }"#;
    let files =
        [("package.json", package), ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"), ("index.html", "")];
    assert!(detected(&files).port_is_fixed);
    assert_eq!(
        body(&files),
        "\
FROM node:22 AS build
WORKDIR /app
RUN npm install -g pnpm@9
COPY package.json pnpm-lock.yaml ./
RUN pnpm install --frozen-lockfile
COPY . .
RUN pnpm run build
RUN printf '%s\\n' 'server {' '    listen 8080;' '    root /usr/share/nginx/html;' '    location / { try_files $uri $uri/ $uri.html /index.html =404; }' '}' > /site.conf

FROM nginxinc/nginx-unprivileged:stable-alpine
COPY --from=build /site.conf /etc/nginx/conf.d/default.conf
COPY --from=build /app/dist /usr/share/nginx/html
EXPOSE 8080
"
    );
}
