"""Models: listed, looked up, and not there."""

import openai
import pytest


@pytest.fixture
async def client(target):
    """A client, where there are models."""
    await target.needs("models")
    return target.client


async def test_list(client):
    """The list holds models with an id and an owner, none of them twice."""
    page = await client.models.list()
    assert page.object == "list"
    names = [model.id for model in page.data]
    assert names
    assert len(set(names)) == len(names)
    assert {model.object for model in page.data} == {"model"}


async def test_retrieve(client):
    """One that is listed can be looked up."""
    listed = (await client.models.list()).data[0]
    assert (await client.models.retrieve(listed.id)).id == listed.id


async def test_unknown(client):
    """One that nobody has is not found, by its code."""
    with pytest.raises(openai.NotFoundError) as refused:
        await client.models.retrieve("no-such-model")
    assert refused.value.code == "model_not_found"


async def test_a_wrong_key(target, client):
    """A wrong key is refused with the service's status and a sentence."""
    await target.needs("keys")
    with pytest.raises(openai.AuthenticationError) as refused:
        await client.with_options(api_key="sk-wrong").models.list()
    assert refused.value.status_code == 401
    assert refused.value.type == "invalid_request_error"
    assert refused.value.code == "invalid_api_key"
    assert refused.value.body["message"]


async def test_unknown_url(client):
    """Even an unknown URL is answered in the shape of an error."""
    with pytest.raises(openai.NotFoundError) as refused:
        await client.get("/no/such/thing", cast_to=object)
    assert refused.value.body["message"]
