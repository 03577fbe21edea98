"""The gRPC side of the server: the Open Inference Protocol v2 and gRPC's health checks.

It shares the event loop and the `InferenceService` with the HTTP side, so requests of both join the
same batches. It needs the packages grpcio and protobuf, of the extra `grpc`, and is imported only
when it is enabled.
"""
