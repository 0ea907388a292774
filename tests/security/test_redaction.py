"""Credentials in URLs are removed from any text, and nothing else is."""

import pytest

from lpstudy.redaction import without_credentials

CANARY = "CANARY"

CARRIERS = {
    "http://user:CANARY@127.0.0.1:5000": "http://127.0.0.1:5000",
    "https://CANARY@host/path": "https://host/path",
    "https://:CANARY@host": "https://host",
    "postgresql://me:CANARY@db.example/ledger": "postgresql://db.example/ledger",
    "postgresql+psycopg2://me:CANARY@db:5432/x?sslmode=require": "postgresql+psycopg2://db:5432/x?sslmode=require",
    "postgresql://me:CANARY@CANARY@db/x": "postgresql://db/x",
    "postgresql://me:CANARY/CANARY@db/x": "postgresql://db/x",
    "postgresql://db/x?user=me&password=CANARY": "postgresql://db/x?user=me&password=…",
    "s3://key:CANARY@bucket/folder": "s3://bucket/folder",
    "s3://bucket/x?X-Amz-Signature=CANARY&X-Amz-Date=1": "s3://bucket/x?X-Amz-Signature=…&X-Amz-Date=1",
    "https://blob/x?sv=1&sig=CANARY": "https://blob/x?sv=1&sig=…",
    "s3://bucket?access_key=CANARY;secret_key=CANARY": "s3://bucket?access_key=…;secret_key=…",
    "http:/user:CANARY@host/a": "http:/host/a",
    "ray://me:CANARY@[::1]:10001": "ray://[::1]:10001",
    "'http://a:CANARY@x' and \"http://b:CANARY@y\"": "'http://x' and \"http://y\"",
    "API request to http://u:CANARY@h:5/api failed (http://u:CANARY@h:5)": (
        "API request to http://h:5/api failed (http://h:5)"
    ),
    "--ledger=postgresql://u:CANARY@h/l --trials 2": "--ledger=postgresql://h/l --trials 2",
    "http://us%40er:CAN%2FARYCANARY@h/": "http://h/",
}


@pytest.mark.parametrize("text", CARRIERS)
def test_user_password_and_secrets_of_a_query_are_removed(text: str) -> None:
    assert without_credentials(text) == CARRIERS[text]
    assert CANARY not in without_credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://127.0.0.1:5000/#/experiments/1/runs/2",
        "http://host:8080/a@b?c=d@e",
        "http://[::1]:5000/x@y",
        "https://host/path?mail=me@example.com",
        "sqlite:////home/someone/a@b/mlflow.db",
        "me@example.com, see https://host",
        "a: b@c",
        "C:/folder/a@b",
        "python -m lpstudy.sweep digits --trials 2 --data-root /data@home",
        "http://host/?design=fitnet1&keyboard=3",
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert without_credentials(text) == text
