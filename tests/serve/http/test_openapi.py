"""The description of the server agrees with what the protocol reads and writes."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from mnist_sgd_serve.http import openapi
from mnist_sgd_serve.http.routes import Routes
from mnist_sgd_serve.protocol import model_metadata
from mnist_sgd_serve.settings import Settings

ENDPOINTS = Routes(Settings(model=Path("model.onnx")), Mock(), Mock(), Mock()).endpoints
DOCUMENT = openapi.document(ENDPOINTS, "digits", ("7", "3"), "0.1.0")


def test_the_description_is_json_and_all_its_references_lead_somewhere() -> None:
    text = json.dumps(DOCUMENT)
    assert json.loads(text) == DOCUMENT
    named = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert named == set(DOCUMENT["components"]["schemas"])


def test_the_description_names_the_model_its_classes_and_the_version_of_the_server() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == "0.1.0"
    (name,) = DOCUMENT["paths"]["/v2/models/{name}"]["parameters"]
    assert name["schema"] == {"type": "string", "const": "digits"}
    prediction = DOCUMENT["components"]["schemas"]["Prediction"]["properties"]
    assert prediction["label"]["enum"] == ["7", "3"]
    assert prediction["positive"]["const"] == "3"
    assert prediction["probabilities"]["required"] == ["7", "3"]


def test_the_description_has_every_route() -> None:
    assert {path: set(item) - {"parameters"} for path, item in DOCUMENT["paths"].items()} == {
        "/v2/health/live": {"get"},
        "/v2/health/ready": {"get"},
        "/v2": {"get"},
        "/v2/models": {"get"},
        "/v2/models/stats": {"get"},
        "/v2/repository/index": {"post"},
        "/v2/models/{name}": {"get"},
        "/v2/models/{name}/config": {"get"},
        "/v2/models/{name}/stats": {"get"},
        "/v2/models/{name}/ready": {"get"},
        "/v2/models/{name}/infer": {"post"},
        "/v2/models/{name}/versions/{version}": {"get"},
        "/v2/models/{name}/versions/{version}/config": {"get"},
        "/v2/models/{name}/versions/{version}/stats": {"get"},
        "/v2/models/{name}/versions/{version}/ready": {"get"},
        "/v2/models/{name}/versions/{version}/infer": {"post"},
        "/predict": {"post"},
        "/metrics": {"get"},
        "/openapi.json": {"get"},
    }
    for path, item in DOCUMENT["paths"].items():
        given = [parameter["name"] for parameter in item.get("parameters", [])]
        assert given == [name for name in ("name", "version") if f"{{{name}}}" in path]


def test_the_description_says_what_needs_the_token_and_then_tells_no_classes() -> None:
    document = openapi.document(ENDPOINTS, "digits", (), "0.1.0", token_required=True)
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer"}
    }
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post"}:
            needs = not path.startswith("/v2/health") and path != "/openapi.json"
            assert (item[method].get("security") == [{"bearer": []}]) is needs
            assert ("401" in item[method]["responses"]) is needs
    assert '"7"' not in json.dumps(document)
    assert "security" not in json.dumps(DOCUMENT["paths"])


def test_the_description_names_the_path_under_which_a_proxy_serves_it() -> None:
    document = openapi.document(ENDPOINTS, "digits", ("7", "3"), "0.1.0", root_path="/digits")
    assert document["servers"] == [{"url": "/digits"}]


def parameters(path: str, method: str) -> dict[str, Any]:
    return {one["name"]: one["schema"] for one in DOCUMENT["paths"][path][method]["parameters"]}


def test_the_description_has_all_parameters() -> None:
    assert parameters("/predict", "post") == {"explain": {"type": "string", "enum": ["0", "1"]}}
    assert list(parameters("/v2/models/{name}/infer", "post")) == [
        "Inference-Header-Content-Length"
    ]


def test_the_description_of_a_request_allows_the_members_that_are_read() -> None:
    described = DOCUMENT["components"]["schemas"]["InferenceRequest"]
    inner = described["properties"]
    for schema, members in [
        (
            described,
            {"id", "inputs", "model_name", "model_version", "outputs", "parameters"},
        ),
        (inner["inputs"]["items"], {"name", "shape", "datatype", "data", "parameters"}),
        (inner["outputs"]["items"], {"name", "parameters"}),
    ]:
        assert set(schema["properties"]) == members
        assert schema["additionalProperties"] == {"type": "null"}


def test_the_description_of_the_model_is_its_metadata() -> None:
    described = DOCUMENT["components"]["schemas"]["ModelMetadata"]["properties"]
    metadata = model_metadata("digits", "1")
    assert set(described) == set(metadata)
    for kind in ("inputs", "outputs"):
        tensor_described = described[kind]["items"]["properties"]
        assert {key: value["const"] for key, value in tensor_described.items()} == metadata[kind][0]
