"""The providers under test, and the reports that each of their payloads must be parsed to."""

import gzip
import json
from base64 import b64encode

from receiver.domain.callbacks import Ack
from receiver.domain.jobs import JobStatus
from tests.contract import Case


def _encode_data(body: bytes) -> bytes:
    """Return a push message whose data, an object in the payload's file, is the base64 of JSON."""
    try:
        document = json.loads(body)
        document["message"]["data"] = b64encode(json.dumps(document["message"]["data"]).encode()).decode()
    except (ValueError, LookupError, TypeError, RecursionError):
        return body
    return json.dumps(document).encode()


CASES = (
    Case(
        "sandbox",
        """
        sent.json  | m-1 | in_progress | SENT      |  |             | 12:00:01
        final.json | m-1 | succeeded   | DELIVERED |  |             | 12:00:05.250
                   | m-2 | failed      | EXPIRED   |  | handset off | 12:00:05.250
        """,
        scheme="standard-webhooks",
        event_id="msg_1",
    ),
    Case(
        "cecula",
        """
        sent.json      | b8bfb980-357a-4a39-863a-1b27c1f191d5 | in_progress | SENT | 1801
        delivered.json | b8bfb980-357a-4a39-863a-1b27c1f191d5 | succeeded   | DELIVERED
                       | 5f019c1e-e2ae-4dc7-b52d-3c748e96c97e | failed      | UNDELIVERED
        """,
        scheme="token",
    ),
    Case(
        "twilio",
        """
        sent.form        | SM00000000000000000000000000000001 | in_progress | sent
        delivered.form   | SM00000000000000000000000000000001 | succeeded   | delivered
        undelivered.form | SM00000000000000000000000000000002 | failed      | undelivered | 30003
        """,
        scheme="twilio-form",
    ),
    Case(
        "africas-talking",
        """
        sent.form     | ATXid_1 | in_progress | Sent
        success.form  | ATXid_1 | succeeded   | Success
        rejected.form | ATXid_2 | failed      | Rejected |  | UserInBlacklist
        """,
        scheme="token",
    ),
    Case(
        "termii",
        """
        delivered.json | 3017544054459083819856413 | succeeded | DELIVERED
        handset.json   | 3017544054459083819856414 | succeeded | Message delivered to handset
        dnd.json       | 3017544054459083819856415 | failed    | DND Active on Phone Number
        """,
    ),
    Case(
        "infobip",
        """
        pending.json    | m-1 | in_progress | PENDING                | 0  | No Error          | 12:00:05.250
        operator.json   | m-1 | in_progress | DELIVERED_TO_OPERATOR  | 0  | No Error          | 12:00:05.250
        final.json      | m-1 | succeeded   | DELIVERED_TO_HANDSET   | 0  | No Error          | 12:00:05.250
                        | m-2 | failed      | UNDELIVERABLE          | 27 | Absent Subscriber | 12:00:05.250
        unheard-of.json | m-3 |             | DELIVERED_TO_NEIGHBOUR | 0  | No Error          | 12:00:05.250
        """,
        scheme="basic",
    ),
    Case(
        "sinch",
        """
        dispatched.json | 01FC66621XXXXX119Z8PMV1QPQ/2348030000001 | in_progress | Dispatched | 400 |  | 12:00:05.250
        delivered.json  | 01FC66621XXXXX119Z8PMV1QPQ/2348030000001 | succeeded   | Delivered  | 0   |  | 12:00:05.250
        failed.json     | 01FC66621XXXXX119Z8PMV1QPQ/2348030000002 | failed      | Failed     | 402 |  | 12:00:05.250
        """,
    ),
    Case(
        "plivo",
        """
        queued.form      | plivo-1 | in_progress | queued
        sent.form        | plivo-1 | in_progress | sent
        delivered.form   | plivo-1 | succeeded   | delivered
        undelivered.form | plivo-2 | failed      | undelivered | 450
        """,
        scheme="plivo-v2",
    ),
    Case(
        "github",
        """
        queued.json  | 17002003004 | in_progress | queued  |  |  | 12:00:05
        success.json | 17002003004 | succeeded   | success |  |  | 12:00:05 | supersedes
        failure.json | 17002003005 | failed      | failure |  |  | 12:00:05
        ping.json
        """,
        headers={"x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"},
    ),
    Case(
        "stripe",
        """
        created.json | po_1 | in_progress | payout.created |                |                  | 12:00:05
        paid.json    | po_1 | succeeded   | payout.paid    |                |                  | 12:00:05
        failed.json  | po_1 | failed      | payout.failed  | account_closed | Closed by owner. | 12:00:05 | supersedes
        charge.json
        """,
        event_id="evt_1",
    ),
    Case(
        "slack",
        """
        eyes.json     | C0001/1763899200.000100 | in_progress | eyes             |  | U0001 | 12:00:05
        approved.json | C0001/1763899200.000100 | succeeded   | white_check_mark |  | U0001 | 12:00:05
        declined.json | C0001/1763899200.000101 | failed      | x                |  | U0001 | 12:00:05
        """,
        event_id="Ev0000000001",
    ),
    Case(
        "shopify",
        """
        running.json   | gid://shopify/BulkOperation/1 | in_progress | running
        completed.json | gid://shopify/BulkOperation/1 | succeeded   | completed |         |  | 12:00:05
        failed.json    | gid://shopify/BulkOperation/2 | failed      | failed    | TIMEOUT |  | 12:00:05
        """,
        headers={"x-shopify-event-id": "98880550-7158-44d4-b7cd-2c97c8a091b5"},
    ),
    Case(
        "paystack",
        """
        success.json  | t-1 | succeeded | transfer.success  |  |                | 12:00:05
        reversed.json | t-1 | failed    | transfer.reversed |  |                | 12:00:05 | supersedes
        failed.json   | t-2 | failed    | transfer.failed   |  | Account closed | 12:00:05
        customer.json
        """,
    ),
    Case(
        "flutterwave",
        """
        pending.json    | 33286 | in_progress | PENDING    |  |                                              | 12:00:05
        successful.json | 33286 | succeeded   | SUCCESSFUL |  | Transaction was successful                   | 12:00:05
        failed.json     | 33287 | failed      | FAILED     |  | DISBURSE FAILED: Insufficient wallet balance | 12:00:05
        """,
    ),
    Case(
        "replicate",
        """
        processing.json | ufawqhfynnddngldkgtslldrkq | in_progress | processing |  |               | 12:00:01
        succeeded.json  | ufawqhfynnddngldkgtslldrkq | succeeded   | succeeded  |  |               | 12:00:05.250
        failed.json     | second                     | failed      | failed     |  | out of memory | 12:00:05.250
        """,
        event_id="msg_1",
    ),
    Case(
        "openai",
        """
        completed.json | batch_1 |  | batch.completed |  |  | 12:00:05 | poll
        failed.json    | batch_2 |  | batch.failed    |  |  | 12:00:05 | poll
        """,
        event_id="msg_1",
    ),
    Case(
        "mux",
        """
        created.json | asset-1 | in_progress | preparing |               |                      | 12:00:05.250
        ready.json   | asset-1 | succeeded   | ready     |               |                      | 12:00:05.250
        errored.json | asset-2 | failed      | errored   | invalid_input | The file is no video | 12:00:05.250
        """,
        event_id="event-preparing",
    ),
    Case(
        "assemblyai",
        """
        completed.json | tr-1 |  | completed |  |  |  | poll
        error.json     | tr-2 |  | error     |  |  |  | poll
        """,
    ),
    Case(
        "adyen",
        """
        authorised.json | 7914073381342284 | succeeded | AUTHORISATION.true  |  |         | 12:00:05
        two.json        | 7914073381342285 | failed    | AUTHORISATION.false |  | Refused | 12:00:05
                        | 7914073381342286 | succeeded | CAPTURE.true        |  |         | 12:00:05
        """,
        status_text="AUTHORISATION",
        ack=Ack(status=200, body=b"[accepted]", headers={"content-type": "text/plain"}),
    ),
    Case(
        "meta",
        """
        sent.json  | wamid.1 | in_progress | sent      |        |                       | 12:00:05
        final.json | wamid.1 | succeeded   | delivered |        |                       | 12:00:05
                   | wamid.2 | failed      | failed    | 131047 | Re-engagement message | 12:00:05
        read.json  | wamid.1 | succeeded   | read      |        |                       | 12:00:05
        """,
    ),
    Case(
        "zoom",
        """
        started.json   | WEz4RT2lSyKx2MD9Z+lYfA== | in_progress | recording.started   |  |  | 12:00:05.250
        completed.json | WEz4RT2lSyKx2MD9Z+lYfA== | succeeded   | recording.completed |  |  | 12:00:05.250
        """,
    ),
    Case(
        "square",
        """
        approved.json  | pay-1 | in_progress | APPROVED  |  |  | 12:00:05.250
        completed.json | pay-1 | succeeded   | COMPLETED |  |  | 12:00:05.250
        canceled.json  | pay-2 | failed      | CANCELED  |  |  | 12:00:05.250
        """,
        event_id="ev-APPROVED",
    ),
    Case(
        "zendesk",
        """
        working.json   | j-1 | in_progress | working
        completed.json | j-1 | succeeded   | completed |  | Completed at 2025-11-23 12:00:05 +0000
        failed.json    | j-2 | failed      | failed    |  | Access denied
        """,
    ),
    Case(
        "svix",
        """
        running.json | exp-1 | in_progress | running |  |           | 12:00:05.250
        done.json    | exp-1 | succeeded   | done    |  |           | 12:00:05.250
        broken.json  | exp-2 | failed      | broken  |  | disk full | 12:00:05.250
        other.json
        """,
        event_id="msg_1",
    ),
    Case(
        "standard-webhooks",
        """
        started.json  | r-1 | in_progress | render.started  |  |              | 12:00:05.250
        finished.json | r-1 | succeeded   | render.finished |  |              | 12:00:05.250
        failed.json   | r-2 | failed      | render.failed   |  | no such font | 12:00:05.250
        """,
        event_id="msg_1",
    ),
    Case(
        "telnyx",
        """
        sent.json      | tx-1 | in_progress | sent            |  |  | 12:00:05.250
        finalized.json | tx-1 | succeeded   | delivered       |  |  | 12:00:05.250
        failed.json    | tx-2 | failed      | delivery_failed |  |  | 12:00:05.250
        """,
        event_id="ev-message.sent",
    ),
    Case(
        "46elks",
        """
        sent.form      | s1 | in_progress | sent
        delivered.form | s1 | succeeded   | delivered |  |  | 12:00:05.250
        failed.form    | s2 | failed      | failed
        """,
        scheme="token",
    ),
    Case(
        "gupshup",
        """
        two.form | 356-1 | succeeded | DELIVERED | 000 | SUCCESS            | 12:00:05.250
                 | 356-2 | failed    | FAILED    | 003 | UNKNOWN_SUBSCRIBER | 12:00:05.250
        """,
        scheme="token",
    ),
    Case(
        "fal",
        """
        ok.json            | fal-1 | succeeded | OK
        error.json         | fal-2 | failed    | ERROR |  | Invalid status code: 422
        payload-error.json | fal-3 | succeeded | OK    |  | not serializable
        """,
        event_id="fal-1",
    ),
    Case(
        "vonage",
        """
        submitted.json | vonage-1 | in_progress | submitted |      |                         | 12:00:05.250
        delivered.json | vonage-1 | succeeded   | delivered |      |                         | 12:00:05.250
        read.json      | vonage-1 | succeeded   | read      |      |                         | 12:00:05.250
        rejected.json  | vonage-2 | failed      | rejected  | 1260 | Destination unreachable | 12:00:05.250
        """,
        event_id="jti-1",
    ),
    Case(
        "sendgrid",
        """
        delivered.json | m1 | succeeded   | delivered |  |                  | 12:00:05
        two.json       | m2 | in_progress | processed |  |                  | 12:00:01
                       | m2 | failed      | bounce    |  | 550 no such user | 12:00:05
        """,
    ),
    Case(
        "wise",
        """
        processing.json | 111 | in_progress | processing            |  |  | 12:00:05
        sent.json       | 111 | succeeded   | outgoing_payment_sent |  |  | 12:00:05
        refunded.json   | 112 | failed      | funds_refunded        |  |  | 12:00:05 | supersedes
        balance.json
        """,
    ),
    Case(
        "shipengine",
        """
        transit.json   | 1Z1 | in_progress | IT |  | In Transit
        delivered.json | 1Z1 | succeeded   | DE |  | Delivered
        batch.json
        """,
    ),
    Case(
        "truelayer",
        """
        executed.json | p-1 | succeeded | payout_executed
        failed.json   | p-2 | failed    | payout_failed |  | insufficient_funds
        """,
        event_id="b8d4dda0-ff2c-4d77-a6da-4615e4bad941",
    ),
    Case(
        "messagebird",
        """
        sent.json      | mb-1/2348030000001 | in_progress | sent            |   |                    | 12:00:05
        delivered.json | mb-1/2348030000001 | succeeded   | delivered       |   |                    | 12:00:05
        failed.json    | mb-2/2348030000002 | failed      | delivery_failed | 9 | unknown subscriber | 12:00:05
        """,
        event_id="jti-1",
    ),
    Case(
        "plaid",
        """
        ready.json | ar-1 | succeeded | PRODUCT_READY
        error.json | ar-2 | failed    | ERROR | PRODUCT_NOT_ENABLED | not enabled
        """,
    ),
    Case(
        "pubsub",
        """
        running.json | job-1 | in_progress | running |  |  | 12:00:05.250
        done.json    | job-1 | succeeded   | done    |  |  | 12:00:05.250
        failed.json  | job-2 | failed      | failed  |  |  | 12:00:05.250
        """,
        ack=Ack(status=204, body=b"", headers={}),
    ),
    Case(
        "sns",
        """
        progressing.json | mc-1 | in_progress | PROGRESSING |  |              | 12:00:05.250
        complete.json    | mc-1 | succeeded   | COMPLETE    |  |              | 12:00:05.250
        error.json       | mc-2 | failed      | ERROR       |  | no such file | 12:00:05.250
        """,
        event_id="22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    ),
    Case(
        "paypal",
        """
        unclaimed.json | pb-1 | in_progress | PAYMENT.PAYOUTS-ITEM.UNCLAIMED |  |                       | 12:00:05
        succeeded.json | pb-1 | succeeded   | PAYMENT.PAYOUTS-ITEM.SUCCEEDED |  |                       | 12:00:05
        failed.json    | pb-2 | failed      | PAYMENT.PAYOUTS-ITEM.FAILED    |  | RECEIVER_UNREGISTERED | 12:00:05
        """,
    ),
    Case(
        "docusign",
        """
        sent.json      | env-1 | in_progress | envelope-sent      |  |               | 12:00:05.250
        completed.json | env-1 | succeeded   | envelope-completed |  |               | 12:00:05.250
        voided.json    | env-2 | failed      | envelope-voided    |  | Wrong address | 12:00:05.250
        purge.json
        """,
    ),
    Case(
        "persona",
        """
        started.json  | inq-1 | in_progress | inquiry.started  |  |  | 12:00:05.250
        approved.json | inq-1 | succeeded   | inquiry.approved |  |  | 12:00:05.250
        declined.json | inq-2 | failed      | inquiry.declined |  |  | 12:00:05.250
        redacted.json
        """,
        event_id="evt-inquiry.started",
    ),
    Case(
        "cloudinary",
        """
        upload.json | b-1 | in_progress | upload |  |                    | 12:00:05.250
        eager.json  | b-1 | succeeded   | eager  |  |                    | 12:00:05.250
        error.json  | b-2 | failed      | error  |  | Unsupported format | 12:00:05.250
        """,
        event_id="r-upload",
    ),
    Case(
        "box",
        """
        completed.json | sr-1 | succeeded | SIGN_REQUEST.COMPLETED |  |  | 12:00:05.250
        declined.json  | sr-2 | failed    | SIGN_REQUEST.DECLINED  |  |  | 12:00:05.250
        """,
        event_id="ev-SIGN_REQUEST.COMPLETED",
    ),
    Case(
        "sumsub",
        """
        pending.json | ap-1 | in_progress | applicantPending        |  |                          | 12:00:05.250
        green.json   | ap-1 | succeeded   | applicantReviewed.GREEN |  |                          | 12:00:05.250
        red.json     | ap-2 | failed      | applicantReviewed.RED   |  | The document is expired. | 12:00:05.250
        """,
    ),
    Case(
        "transloadit",
        """
        executing.form | as-1 | in_progress | ASSEMBLY_EXECUTING
        completed.form | as-1 | succeeded   | ASSEMBLY_COMPLETED |                           | The assembly is done.
        error.form     | as-2 | failed      | ERROR              | FILE_FILTER_DECLINED_FILE | A file was declined
        """,
        scheme="transloadit-form",
    ),
    Case(
        "mandrill",
        """
        send.form | md-1 | in_progress | send        |  |                  | 12:00:05
        two.form  | md-1 | succeeded   | delivered   |  |                  | 12:00:05
                  | md-2 | failed      | hard_bounce |  | 550 no such user | 12:00:05
        open.form
        """,
    ),
    Case(
        "xero",
        """
        invoice.json | inv-1 |  | UPDATE |  |  | 12:00:05.250 | poll
        two.json     | inv-2 |  | UPDATE |  |  | 12:00:05.250 | poll
        intent.json
        """,
    ),
    Case(
        "hubspot",
        """
        qualified.json | 501 | in_progress | qualifiedtobuy |  |  | 12:00:05.250
        closed.json    | 501 | succeeded   | closedwon      |  |  | 12:00:05.250
                       | 502 | failed      | closedlost     |  |  | 12:00:05.250
        """,
        scheme="hubspot-v3",
    ),
    Case(
        "korapay",
        """
        processing.json | kp-1 | in_progress | processing |  | Queued
        success.json    | kp-1 | succeeded   | success    |  | Transfer successful
        failed.json     | kp-2 | failed      | failed     |  | Account closed
        """,
    ),
    Case(
        "cloud-build",
        """
        working.json | build-1 | in_progress | WORKING |  |        | 12:00:05.250
        success.json | build-1 | succeeded   | SUCCESS |  |        | 12:00:05.250
        failure.json | build-2 | failed      | FAILURE |  | exit 1 | 12:00:05.250
        """,
        scheme="pubsub",
        ack=Ack(status=204, body=b"", headers={}),
        encode=_encode_data,
    ),
    Case(
        "dropbox-sign",
        """
        viewed.multipart     | dbs-1 | in_progress | signature_request_viewed     |  |  | 12:00:05
        all-signed.multipart | dbs-1 | succeeded   | signature_request_all_signed |  |  | 12:00:05
        declined.multipart   | dbs-2 | failed      | signature_request_declined   |  |  | 12:00:05
        """,
        ack=Ack(body=b"Hello API Event Received", headers={"content-type": "text/plain"}),
    ),
    Case(
        "google-drive",
        """
        sync.http   | file-1 | in_progress | sync
        update.http | file-1 | succeeded   | update
        trash.http  | file-2 | failed      | trash
        """,
    ),
    Case(
        "midtrans",
        """
        pending.json    | order-1 | in_progress | pending    | 201
        settlement.json | order-1 | succeeded   | settlement | 200
        deny.json       | order-2 | failed      | deny       | 202
        """,
    ),
    Case(
        "mtn-momo",
        """
        pending.json    | momo-1 | in_progress | PENDING
        successful.json | momo-1 | succeeded   | SUCCESSFUL
        failed.json     | momo-2 | failed      | FAILED | APPROVAL_REJECTED | The payer declined
        """,
        scheme="token",
        method="PUT",
    ),
    Case(
        "mpesa",
        """
        0.json    | ws_CO_1 | succeeded | 0    |  | The service request is processed successfully.
        1032.json | ws_CO_2 | failed    | 1032 |  | Request cancelled by user
        17.json   | ws_CO_3 | failed    | 17   |  | Limit exceeded
        """,
        scheme="token",
        ack=Ack(body=b'{"ResultCode":0,"ResultDesc":"Accepted"}', headers={"content-type": "application/json"}),
        default=JobStatus.FAILED,
    ),
    Case(
        "zencoder",
        """
        processing.xml | 1 | in_progress | processing
        finished.xml   | 1 | succeeded   | finished
        failed.xml     | 2 | failed      | failed
        """,
        scheme="token",
    ),
    Case(
        "wechat-pay",
        """
        success.xml | wx-1 | succeeded | SUCCESS
        fail.xml    | wx-2 | failed    | FAIL | SYSTEMERROR
        """,
        ack=Ack(
            body=b"<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>", headers={"content-type": "text/xml"}
        ),
    ),
    Case(
        "twilio-voice",
        """
        ringing.query   | CA1 | in_progress | ringing   |  |  | 12:00:05
        completed.query | CA1 | succeeded   | completed |  |  | 12:00:05
        no-answer.query | CA2 | failed      | no-answer |  |  | 12:00:05
        """,
        scheme="twilio-query",
    ),
    Case(
        "getstream",
        """
        running.json   | gs-1 | in_progress | export.running   |  |  | 12:00:05.250123
        completed.json | gs-1 | succeeded   | export.completed |  |  | 12:00:05.250123
        failed.json    | gs-2 | failed      | export.failed    |  |  | 12:00:05.250123
        """,
        headers={"content-encoding": "gzip"},
        encode=gzip.compress,
        signs_encoded=False,
    ),
    Case(
        "bright-data",
        """
        progress.ndjson | s-1 | in_progress | running
                        | s-2 | in_progress | running
        final.ndjson    | s-1 | succeeded   | ready
                        | s-2 | failed      | failed |  | blocked
        """,
    ),
    Case(
        "event-grid",
        """
        delivered.json | acs-1 | succeeded | Delivered |  | No error.   | 12:00:05.250
                       | acs-2 | failed    | Failed    |  | Unreachable | 12:00:05.250
        """,
        scheme="token",
    ),
)
