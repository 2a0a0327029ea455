"""The blueprint that the operations of `/v1` are declared on."""

from flask import Blueprint

from receiver.web.operations import Api

api = Api(Blueprint("v1", __name__, url_prefix="/v1"))
