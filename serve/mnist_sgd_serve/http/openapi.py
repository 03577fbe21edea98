"""The server's OpenAPI 3.1 document, for people and for generators of clients and tests.

JSON inference requests are described for one image, as a schema cannot relate the length of `data`
to `shape`; the description says how to send more.

Source: the OpenAPI specification 3.1.0.
"""

from collections.abc import Iterable

from mnist_sgd_serve.http.endpoint import Endpoint, Json
from mnist_sgd_serve.protocol.members import UNSUPPORTED
from mnist_sgd_serve.protocol.requests import OUTPUT
from mnist_sgd_serve.protocol.tensors import INPUT, PIXELS, SIDE

_PICTURES = ("image/png", "image/jpeg", "image/bmp", "image/gif", "image/webp", "image/tiff")
_OCTETS = "application/octet-stream"
_HEADER_LENGTH = "Inference-Header-Content-Length"
_FAILURES = {
    None: "Any other failure",
    400: "The request is invalid; the message says why",
    401: "The token is missing or wrong",
    403: "The Host is not allowed, or a page of another site sent the request",
    404: "There is no such model or version",
    413: "The body, the picture or the number of images is too large",
    415: "The compression or the image format is not supported",
    422: "The picture is blank",
    503: "Not ready or overloaded: retry later",
    504: "The request waited too long",
}
_BYTES: Json = {"type": "string", "format": "binary"}


def document(
    endpoints: Iterable[Endpoint],
    model_name: str,
    classes: tuple[str, ...],
    version: str,
    *,
    root_path: str = "",
    token_required: bool = False,
) -> Json:
    """Describe the routes that have a description.

    Args:
        endpoints: the routes.
        model_name: the model's.
        classes: its classes; empty not to tell them.
        version: the server's.
        root_path: the prefix under which a proxy serves them.
        token_required: whether all but the open ones need the bearer token.
    """
    paths: Json = {}
    for endpoint in endpoints:
        if endpoint.operation is None:
            continue
        operation = dict(endpoint.operation)
        if token_required and not endpoint.open:
            operation |= {"security": [{"bearer": []}]}
            operation["responses"] = operation["responses"] | {"401": _failure(401)}
        parameters = {"name": _string(model_name), "version": {"type": "string"}}
        given = [
            _in_path(name, schema)
            for name, schema in parameters.items()
            if f"{{{name}}}" in endpoint.path
        ]
        item = paths.setdefault(endpoint.path, {"parameters": given} if given else {})
        item[endpoint.method.lower()] = operation
    what = f"Classifies small grey images as {' or '.join(sorted(classes))}. " if classes else ""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mnist_sgd",
            "version": version,
            "description": f"{what}POST /predict takes a picture file. The paths under /v2 follow "
            "the Open Inference Protocol v2, with binary tensors.",
        },
        "servers": [{"url": root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(model_name, classes),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def live() -> Json:
    """Describe the liveness check."""
    return _get("Liveness: whether the process runs", _object(live={"const": True}))


def ready() -> Json:
    """Describe the readiness check."""
    return _get("Readiness: whether requests are answered", _object(ready={"const": True}), 503)


def server_metadata() -> Json:
    """Describe the server's metadata."""
    return _get("Server metadata", _ref("ServerMetadata"))


def models() -> Json:
    """Describe the list of models."""
    return _get("List of models", _object(models=_array({"type": "string"}, 1)))


def model_metadata() -> Json:
    """Describe the model's metadata."""
    return _get("Model metadata: inputs and outputs", _ref("ModelMetadata"), 404)


def model_ready() -> Json:
    """Describe the readiness check of a model."""
    answer = _object(name={"type": "string"}, ready={"const": True})
    return _get("Readiness of the model", answer, 404, 503)


def model_config() -> Json:
    """Describe the model's configuration."""
    return _get("Model configuration, in Triton's format", _ref("ModelConfig"), 404)


def statistics(*failures: int) -> Json:
    """Describe the statistics."""
    return _get("Inference statistics", _ref("Statistics"), *failures)


def repository_index() -> Json:
    """Describe the repository index."""
    entry = _object(**{key: {"type": "string"} for key in ("name", "version", "state", "reason")})
    operation = _operation(
        "Repository index: the models and their states",
        {"application/json": {"schema": _array(entry)}},
        400,
        413,
    )
    request = {
        "type": "object",
        "properties": {"ready": {"type": ["boolean", "null"]}},
        "additionalProperties": {"type": "null"},
    }
    return operation | {"requestBody": {"content": {"application/json": {"schema": request}}}}


def itself() -> Json:
    """Describe the document."""
    return _get("This description, as an OpenAPI document", {"type": "object"})


def metrics() -> Json:
    """Describe the metrics."""
    return _operation(
        "Metrics, in Prometheus' text format", {"text/plain": {"schema": {"type": "string"}}}
    )


def predict() -> Json:
    """Describe the prediction for a picture."""
    operation = _operation(
        "Classify a picture",
        {"application/json": {"schema": _ref("Prediction")}},
        *(400, 403, 413, 415, 422, 503, 504),
    )
    operation["parameters"] = [
        {
            "name": "explain",
            "in": "query",
            "description": "1 adds the model's input, and each pixel's contribution",
            "schema": {"type": "string", "enum": ["0", "1"]},
        }
    ]
    form = _object(image=_BYTES | {"description": "The file; its part may have another name"})
    content: Json = {kind: {"schema": _BYTES} for kind in _PICTURES}
    content["multipart/form-data"] = {"schema": form}
    return operation | {"requestBody": {"required": True, "content": content}}


def _get(summary: str, schema: Json, *failures: int) -> Json:
    return _operation(summary, {"application/json": {"schema": schema}}, *failures)


def _operation(summary: str, answers: Json, *failures: int) -> Json:
    """Describe an operation whose response is 200 with such content, or an error."""
    responses: Json = {"200": {"description": summary, "content": answers}}
    responses |= {str(status): _failure(status) for status in failures}
    responses["default"] = _failure(None)
    return {"summary": summary, "responses": responses}


def _failure(status: int | None) -> Json:
    error = {"application/json": {"schema": _ref("Error")}}
    return {"description": _FAILURES[status], "content": error}


def infer() -> Json:
    """Describe inference."""
    operation = _operation(
        "Infer the probability of the positive class, for one image or a batch",
        {
            "application/json": {"schema": _ref("InferenceResponse")},
            "application/octet-stream": {"schema": _BYTES},
        },
        *(400, 403, 404, 413, 415, 503, 504),
    )
    operation["responses"]["200"]["headers"] = {
        _HEADER_LENGTH: {
            "description": "Where the JSON ends and binary tensors begin; only with such tensors",
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
        }
    }
    operation["description"] = (
        "The JSON schema is of one image; for N, `shape` is [N, 28, 28] and `data` has N times as "
        f"many numbers. As {_OCTETS} the body is the JSON followed by the bytes of the inputs, "
        f"each with the parameter `binary_data_size` in place of `data`; the header "
        f"{_HEADER_LENGTH} is the length of the JSON. If it is 0, the body is images alone, "
        f"{PIXELS} bytes each."
    )
    operation["parameters"] = [
        {
            "name": _HEADER_LENGTH,
            "in": "header",
            "description": f"The length of the JSON, for {_OCTETS} only",
            "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"},
        }
    ]
    content = {
        "application/json": {"schema": _ref("InferenceRequest")},
        _OCTETS: {"schema": _BYTES},
    }
    return operation | {"requestBody": {"required": True, "content": content}}


def _schemas(model_name: str, classes: tuple[str, ...]) -> Json:
    probability: Json = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "Error": _object(error={"type": "string"}),
        "ServerMetadata": _object(
            name={"type": "string"},
            version={"type": "string"},
            extensions=_array({"type": "string"}),
        ),
        "ModelMetadata": _object(
            name=_string(model_name),
            versions=_array({"type": "string"}, 1),
            platform=_string("onnxruntime_onnx"),
            inputs=_array(_tensor(INPUT, "UINT8", [-1, SIDE, SIDE]), 1),
            outputs=_array(_tensor(OUTPUT, "FP32", [-1, 1]), 1),
        ),
        "ModelConfig": _object(
            name=_string(model_name), max_batch_size={"type": "integer", "minimum": 1}
        )
        | {"description": "More members as Triton's model_config.proto has them"},
        "Statistics": _object(model_stats=_array({"type": "object"}, 1)),
        "InferenceRequest": _inference_request(),
        "InferenceResponse": _inference_response(model_name, probability),
        "Prediction": _prediction(classes, probability),
    }


def _prediction(classes: tuple[str, ...], probability: Json) -> Json:
    """Describe the answer about a picture; the last members are those of `explain`."""
    label: Json = {"type": "string"} | ({"enum": list(classes)} if classes else {})
    probabilities: Json = {"type": "object", "additionalProperties": probability}
    if classes:
        probabilities = _object(**dict.fromkeys(classes, probability))
        probabilities["additionalProperties"] = False
    answer = _object(
        label=label | {"description": "The predicted class"},
        confidence=probability | {"description": "The probability of the label"},
        probabilities=probabilities | {"description": "Of every class, in label order"},
        probability=probability | {"description": "Of the positive class"},
        positive=_string(classes[-1]) if classes else label,
        inverted={"type": "boolean", "description": "The picture was dark on light"},
        classes=(_exactly(list(classes)) if classes else _array(label))
        | {"description": "In label order"},
        threshold=probability | {"description": "Above it, the label is the positive class"},
        milliseconds={"type": "number", "minimum": 0},
    )
    floats: Json = {"type": ["string", "null"], "contentEncoding": "base64"}  # 784, little-endian
    answer["properties"] |= {
        "preparation": {"type": "string", "description": "How the picture was preprocessed"},
        "paper": {"type": ["integer", "null"], "description": "Grey of the paper, 0 to 255"},
        "image": {"type": "string", "description": "Model input, base64 of 784 bytes"},
        "version": {"type": "string", "description": "The model's"},
        "contributions": floats | {"description": "Of each pixel to the log-odds"},
        "occlusion": floats | {"description": "How the log-odds change where a pixel is covered"},
    }
    return answer


def _inference_request() -> Json:
    pixel = {"type": "integer", "minimum": 0, "maximum": 255}
    picture = _array(_array(pixel, SIDE), SIDE)
    tensor = _object(
        name=_string(INPUT),
        datatype=_string("UINT8"),
        shape=_exactly([1, SIDE, SIDE]),
        data={"anyOf": [_array(pixel, PIXELS), _array(picture, 1)]},
    )
    tensor["properties"]["parameters"] = _parameters(binary_data_size={"type": "null"})
    output = _object(name=_string(OUTPUT))
    output["properties"]["parameters"] = _parameters(binary_data={"type": ["boolean", "null"]})
    request = _object(inputs=_array(tensor, 1))
    request["properties"] |= {
        **{key: {"type": ["string", "null"]} for key in ("id", "model_name", "model_version")},
        "parameters": _parameters(binary_data_output={"type": ["boolean", "null"]}),
        "outputs": {"type": ["array", "null"], "items": output, "maxItems": 1},
    }
    for closed in (tensor, output, request):
        closed["additionalProperties"] = {"type": "null"}
    return request


def _inference_response(model_name: str, probability: Json) -> Json:
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 1}}
    response = _object(
        model_name=_string(model_name),
        model_version={"type": "string"},
        outputs=_array(
            _object(
                name=_string(OUTPUT),
                datatype=_string("FP32"),
                shape=sizes,
                data=_array(probability),
            ),
            1,
        ),
    )
    response["properties"]["id"] = {"type": "string"}
    return response


def _parameters(**known: Json) -> Json:
    return {
        "type": ["object", "null"],
        "properties": known | {name: {"enum": [None, False, 0, ""]} for name in UNSUPPORTED},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }


def _tensor(name: str, datatype: str, shape: list[int]) -> Json:
    return _object(name=_string(name), datatype=_string(datatype), shape=_exactly(shape))


def _in_path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _object(**properties: Json) -> Json:
    """Describe an object with these members, all required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: Json, length: int | None = None) -> Json:
    """Describe an array, of the given length if any."""
    exact = {} if length is None else {"minItems": length, "maxItems": length}
    return {"type": "array", "items": items, **exact}


def _exactly(values: list[int] | list[str]) -> Json:
    return {"type": "array", "const": values}


def _string(value: str) -> Json:
    return {"type": "string", "const": value}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
