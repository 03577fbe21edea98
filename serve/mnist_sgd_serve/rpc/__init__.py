"""The gRPC side of the server: the Open Inference Protocol v2 and gRPC's health checks.

It shares the event loop, the model and the batches of the HTTP side, so requests of both kinds join
the same runs. It needs the packages grpcio and protobuf, which come with the extra `grpc`; nothing
of it is imported where it is off.
"""
