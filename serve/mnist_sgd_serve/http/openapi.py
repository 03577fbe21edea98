"""The server's OpenAPI 3.1 document, for people and for generators of clients and tests.

JSON inference requests are described for one image, as a schema cannot relate the length of `data`
to `shape`; the description says how to send more.

Source: the OpenAPI specification 3.1.0.
"""

from typing import Any

from mnist_sgd_serve.protocol.members import UNSUPPORTED
from mnist_sgd_serve.protocol.requests import OUTPUT
from mnist_sgd_serve.protocol.tensors import INPUT, PIXELS, SIDE

Json = dict[str, Any]

_PICTURES = ("image/png", "image/jpeg", "image/bmp", "image/gif", "image/webp", "image/tiff")
_OCTETS = "application/octet-stream"
_HEADER_LENGTH = "Inference-Header-Content-Length"
_NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
_FAILURES = {
    400: "The request is wrong; the message says how",
    403: "The Host is foreign, or a page of another site sent it",
    404: "No such model, or version of it",
    413: "The body, the picture or the number of images is too large",
    415: "A compression or a format of pictures that is not read",
    422: "Nothing is drawn on the picture",
    503: "Not ready, or too busy: try again",
    504: "It waited too long for its turn",
}
_BYTES: Json = {"type": "string", "format": "binary"}


def openapi(model_name: str, classes: tuple[str, str], version: str) -> Json:
    """Describe the server's routes."""
    paths: Json = {
        "/v2/health/live": _get("Is the process alive?", _object(live={"const": True})),
        "/v2/health/ready": _get("Is it ready to answer?", _object(ready={"const": True}), 503),
        "/v2": _get("What the server is", _ref("ServerMetadata")),
        "/v2/models": _get("The models", _object(models=_array(_string(model_name), 1))),
        "/predict": {"post": _predict()},
        "/metrics": {"get": _metrics()},
        "/openapi.json": _get("This document", {"type": "object"}),
    }
    path = "/v2/models/{name}"
    for suffix in ("", "/versions/{version}"):
        paths[path + suffix] = _get("What the model takes and gives", _ref("ModelMetadata"), 404)
        paths[path + suffix + "/ready"] = _get(
            "Is the model ready?",
            _object(name=_string(model_name), ready={"const": True}),
            404,
            503,
        )
        paths[path + suffix + "/infer"] = {"post": _infer()}
    for template, item in paths.items():
        given = {"name": _string(model_name), "version": {"type": "string"}}
        parameters = [
            _in_path(key, schema) for key, schema in given.items() if f"{{{key}}}" in template
        ]
        if parameters:
            item["parameters"] = parameters
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mnist_sgd",
            "version": version,
            "description": f"Tells {classes[1]!r} from {classes[0]!r} on small grey images. Speaks "
            "the Open Inference Protocol v2 with binary tensors, and takes pictures at /predict.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(model_name, classes)},
    }


def _get(summary: str, schema: Json, *failures: int) -> Json:
    return {"get": _operation(summary, {"application/json": {"schema": schema}}, *failures)}


def _operation(summary: str, answers: Json, *failures: int) -> Json:
    """Describe an operation whose response is 200 with such content, or an error."""
    error = {"application/json": {"schema": _ref("Error")}}
    responses: Json = {"200": {"description": summary, "content": answers}}
    for status in failures:
        responses[str(status)] = {"description": _FAILURES[status], "content": error}
    responses["default"] = {"description": "Any other failure", "content": error}
    return {"summary": summary, "responses": responses}


def _metrics() -> Json:
    return _operation("Counters for Prometheus", {"text/plain": {"schema": {"type": "string"}}})


def _predict() -> Json:
    operation = _operation(
        "Which class is on a picture?",
        {"application/json": {"schema": _ref("Prediction")}},
        *(400, 403, 413, 415, 422, 503, 504),
    )
    form = _object(image=_BYTES | {"description": "The file; its part may have another name"})
    content: Json = {kind: {"schema": _BYTES} for kind in _PICTURES}
    content["multipart/form-data"] = {"schema": form}
    return operation | {"requestBody": {"required": True, "content": content}}


def _infer() -> Json:
    operation = _operation(
        "The probability of the positive class, for one image or many",
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
        "JSON is shown for one image; for N, `shape` is [N, 28, 28] and `data` has N times as "
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


def _schemas(model_name: str, classes: tuple[str, str]) -> Json:
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
        "InferenceRequest": _inference_request(),
        "InferenceResponse": _inference_response(model_name, probability),
        "Prediction": _object(
            label={"type": "string", "enum": list(classes), "description": "The predicted class"},
            confidence=probability | {"description": "The probability of the label"},
            probabilities=_object(**dict.fromkeys(classes, probability))
            | {"description": "Of every class, in label order", "additionalProperties": False},
            probability=probability | {"description": "Of the positive class"},
            positive=_string(classes[1]),
            inverted={"type": "boolean", "description": "The picture was dark on light"},
            classes=_exactly(list(classes)) | {"description": "In label order"},
            threshold=probability | {"description": "Above it, the label is the positive class"},
            milliseconds={"type": "number", "minimum": 0},
        ),
    }


def _inference_request() -> Json:
    pixel = {"type": "integer", "minimum": 0, "maximum": 255}
    picture = _array(_array(pixel, SIDE), SIDE)
    text = {"type": ["string", "null"], "maxLength": 256, "pattern": _NO_CONTROLS}
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
        "id": text,
        "model_name": text,
        "parameters": _parameters(binary_data_output={"type": ["boolean", "null"]}),
        "outputs": {"type": ["array", "null"], "items": output, "maxItems": 1},
    }
    for closed in (tensor, output, request):
        closed["additionalProperties"] = False
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
        "properties": known | dict.fromkeys(UNSUPPORTED, False),
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
