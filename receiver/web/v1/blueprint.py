"""The blueprint on which the operations of `/v1` are declared."""

from flask import Blueprint

from receiver.web.operations import Api

api = Api(Blueprint("v1", __name__, url_prefix="/v1"))
