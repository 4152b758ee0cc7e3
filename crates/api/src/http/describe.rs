//! What `/api/openapi.json` says. It is read off the messages and the tables, so it cannot say anything else than
//! what is served.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    AdditionalProperties, ComponentsBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::ask::{IDEMPOTENCY_KEY, NUMBERS};
use super::problem::{PROBLEM, Problem};
use super::{bundle, deploy, stream, table};

const TOKEN: &str = "token";

/// Where an operation takes what is not in its path.
#[expect(non_camel_case_types, reason = "the tables name them so")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    query,
    body,
}

/// The document while it is written.
pub(super) struct Api {
    paths: PathsBuilder,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

/// The document, as text.
pub(super) fn document() -> String {
    let mut document = serde_json::to_value(written()).unwrap_or_default();
    unsigned(&mut document);
    document.to_string()
}

/// Formats of signed numbers are taken off unsigned ones, which may be twice as large.
fn unsigned(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_integer = fields.get("type").is_some_and(|of| {
                // What may be left out may be null, too.
                *of == "integer" || of.as_array().is_some_and(|any| any.contains(&"integer".into()))
            });
            if is_integer && fields.contains_key("minimum") {
                fields.remove("format");
            }
            fields.values_mut().for_each(unsigned);
        }
        Value::Array(items) => items.iter_mut().for_each(unsigned),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn written() -> OpenApi {
    let mut api = Api { paths: PathsBuilder::new(), schemas: BTreeMap::new() };
    api.know::<Problem>();
    table::describe(&mut api);
    deploy::describe(&mut api);
    bundle::describe(&mut api);
    stream::describe(&mut api);
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components =
        ComponentsBuilder::new().schemas_from_iter(api.schemas).security_scheme(TOKEN, bearer).build();
    let info = InfoBuilder::new()
        .title("Temps")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Any node answers, and hands changes on to the one that leads. Tokens are made by `temps tokens create`.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .paths(api.paths)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(TOKEN, Vec::<String>::new())]))
        .build()
}

impl Api {
    /// An operation with one answer.
    pub(super) fn operation<A: ToSchema, B: ToSchema>(
        &mut self,
        method: &str,
        at: &str,
        id: &str,
        way: Way,
        kind: &str,
        what: &str,
    ) {
        let answer = ResponseBuilder::new().description("Done");
        let answer = answer.content("application/json", self.reference::<B>());
        let fields = fields::<A>(at);
        self.know_parts::<A>();
        let mut operation = self.begin(at, id, kind, what).response("200", answer.build());
        if way == Way::query {
            operation = operation.parameters(Some(parameters(&fields)));
        } else {
            operation = operation.parameter(idempotency_key());
            if !fields.properties.is_empty() {
                let content = ContentBuilder::new().schema(Some(Schema::Object(fields))).build();
                let body = RequestBodyBuilder::new().content("application/json", content).build();
                operation = operation.request_body(Some(body));
            }
        }
        self.add(method, at, operation);
    }

    /// An operation that answers event after event.
    pub(super) fn stream<A: ToSchema, B: ToSchema>(&mut self, at: &str, id: &str, kind: &str, what: &str) {
        self.know::<B>();
        let text = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String).build()));
        let told = format!("Server-sent events, each with a {} in JSON", B::name());
        let answer = ResponseBuilder::new().description(told).content("text/event-stream", text.build());
        let operation = self.begin(at, id, kind, what).response("200", answer.build());
        self.add("get", at, operation.parameters(Some(parameters(&fields::<A>(at)))));
    }

    /// An operation that takes a file.
    pub(super) fn upload<B: ToSchema>(&mut self, at: &str, id: &str, kind: &str, what: &str) {
        let answer = ResponseBuilder::new().description("Done");
        let answer = answer.content("application/json", self.reference::<B>());
        let bytes = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        let content = ContentBuilder::new().schema(Some(bytes.build())).build();
        let body = RequestBodyBuilder::new().content("application/octet-stream", content).build();
        let operation = self.begin(at, id, kind, what).response("200", answer.build());
        self.add("put", at, operation.request_body(Some(body)));
    }

    fn begin(&self, at: &str, id: &str, kind: &str, what: &str) -> OperationBuilder {
        let refusal = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        let refusal = ResponseBuilder::new().description("Refused").content(PROBLEM, refusal).build();
        OperationBuilder::new()
            .operation_id(Some(id))
            .tag(kind)
            .summary(Some(what))
            .parameters(Some(in_path(at).map(|name| {
                let schema = match NUMBERS.contains(&name) {
                    true => u64::schema(),
                    false => String::schema(),
                };
                let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
                parameter.required(Required::True).schema(Some(schema)).build()
            })))
            .response("default", refusal)
    }

    fn add(&mut self, method: &str, at: &str, operation: OperationBuilder) {
        let method = match method {
            "get" => HttpMethod::Get,
            "put" => HttpMethod::Put,
            "post" => HttpMethod::Post,
            "patch" => HttpMethod::Patch,
            _ => HttpMethod::Delete,
        };
        let paths = std::mem::take(&mut self.paths);
        self.paths = paths.path(format!("/api/v1{at}"), PathItem::new(method, operation));
    }

    /// Has the message among the named ones, and those within it.
    fn know<T: ToSchema>(&mut self) {
        self.schemas.insert(T::name().into_owned(), T::schema());
        self.know_parts::<T>();
    }

    fn know_parts<T: ToSchema>(&mut self) {
        let mut found = Vec::new();
        T::schemas(&mut found);
        self.schemas.extend(found);
    }

    fn reference<T: ToSchema>(&mut self) -> utoipa::openapi::Content {
        self.know::<T>();
        ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build()
    }
}

/// The names in a path.
fn in_path(at: &str) -> impl Iterator<Item = &str> {
    at.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// What of a message is not in the path.
fn fields<T: PartialSchema>(at: &str) -> Object {
    let mut object = match T::schema() {
        RefOr::T(Schema::Object(object)) => object,
        RefOr::T(_) | RefOr::Ref(_) => Object::new(),
    };
    for name in in_path(at) {
        object.properties.remove(name);
        object.required.retain(|required| required != name);
    }
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    object
}

/// What can be written in a query: single values.
fn parameters(fields: &Object) -> Vec<Parameter> {
    let single = fields.properties.iter().filter_map(|(name, schema)| match schema {
        RefOr::T(Schema::Object(object)) if object.properties.is_empty() => Some((name, object)),
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    single
        .map(|(name, object)| {
            let mut schema = object.clone();
            let description = schema.description.take();
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
            parameter.required(Required::False).description(description).schema(Some(schema)).build()
        })
        .collect()
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name(IDEMPOTENCY_KEY)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Sent again with the same key it takes effect once, and has the same answer"))
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(128)),
        ))
        .build()
}
