"""The shells over real gRPC on loopback. Goal: the rules that the simulation proves hold over the real call."""

import asyncio
import contextlib
import dataclasses
import time
from datetime import datetime, timezone

import pytest

pytest.importorskip("grpc")

import grpc
from unit.bench.scripted import Script, ScriptedLoad, plan_text

from kvspic.bench import peer, schedule
from kvspic.bench.agent import AgentServer
from kvspic.bench.channel import PATH, BenchError, Security, split_address
from kvspic.bench.controller import Controller
from kvspic.bench.launch import addresses_of
from kvspic.bench.plan import parse_plan
from kvspic.bench.proto import ControlMessage, LiveStats
from kvspic.bench.record import RunRecord

QUICK = {"duration_s": 1, "warmup_s": 0, "drain_s": 1}


class QuickLoad(ScriptedLoad):
    """A load whose blocking calls take no time."""

    def prepare(self):
        self.calls.append("prepare")

    def stop(self, limit_s):
        self.calls.append("stop")


class Silent:
    """An observer."""

    def __init__(self):
        self.on_state = lambda agent: None

    def agent_changed(self, agent, at_s):
        self.on_state(agent)

    def stats(self, agent, at_s, stats):
        pass

    def note(self, at_s, text):
        pass


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(schedule, "LEAST_NS", 200_000_000)
    monkeypatch.setattr(peer, "RETRY_NS", 50_000_000)


@contextlib.asynccontextmanager
async def agents(count, security=None, skew_s=0):
    """Agents on free ports: (server, address, loads) of each."""
    running = []
    for index in range(count):
        loads = []

        def make(plan, assignment, loads=loads):
            loads.append(QuickLoad(Script(), plan, assignment))
            return loads[-1]

        server = AgentServer(parse_plan, make, index * skew_s * 10**9)
        running.append((server, await server.start("127.0.0.1:0", security), loads))
    try:
        yield running
    finally:
        for server, *_ in running:
            await server.end("the test is over")


def controller(addresses, observer=None, **plan):
    text = plan_text(**{**QUICK, **plan})
    parsed = parse_plan(text, len(addresses))
    return Controller(RunRecord("r1", parsed.name, text, time.time()), parsed, addresses, observer or Silent())


def test_two_agents_an_hour_apart_run_together():
    async def main():
        async with agents(2, skew_s=3600) as running:
            record = await controller([address for _, address, _ in running]).run()
            assert [agent.state for agent in record.agents] == ["completed", "completed"]
            assert record.exit_code == 0
            assert record.wall_s < 10  # eight round trips of the clock take no time
            assert record.agents[1].offset_ns == pytest.approx(3600e9, abs=1e9)
            begun = [loads[0].begun_ns for *_, loads in running]
            bounds = sum(agent.bound_ns for agent in record.agents)
            assert abs(begun[0] - begun[1]) <= bounds + 1000
            assert running[0][2][0].calls == ["prepare", "warm_up", "begin", "stop"]

    asyncio.run(main())


def test_an_abort_is_a_partial_result():
    async def main():
        async with agents(1) as running:
            observer = Silent()
            run = controller([running[0][1]], observer, duration_s=60)

            def end(agent):
                if agent.state == "running":
                    run.abort("user", "Ended by SIGINT.", 130)

            observer.on_state = end
            record = await run.run()
            assert (record.exit_code, record.reason) == (130, "Ended by SIGINT.")
            assert record.agents[0].state == "failed"
            assert "user" in record.agents[0].error or "Ended" in record.agents[0].error
            assert running[0][0]._core.state == "idle"

    asyncio.run(main())


def test_an_agent_that_is_ended_tells_its_controller():
    async def main():
        async with agents(1) as running:
            observer = Silent()
            run = controller([running[0][1]], observer, duration_s=60)
            ends = []

            def end(agent):
                if agent.state == "running":
                    ends.append(asyncio.ensure_future(running[0][0].end("The agent was ended by SIGTERM.")))

            observer.on_state = end
            record = await run.run()
            await asyncio.gather(*ends)
            assert record.exit_code == 1
            assert record.agents[0].error == "The agent was ended by SIGTERM."

    asyncio.run(main())


async def ask(address, *messages):
    """Send messages on a call of its own and return what comes until the agent ends the call."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream(PATH, ControlMessage.SerializeToString, LiveStats.FromString)()
        for message in messages:
            await call.write(message)
        return [message async for message in call]


def test_a_busy_agent_and_a_wrong_version_are_sentences():
    async def main():
        async with agents(1) as running:
            address = running[0][1]
            observer = Silent()
            run = controller([address], observer, duration_s=60)
            asked = []

            def second(agent):
                if agent.state == "running":
                    start = ControlMessage(command=ControlMessage.START, run_id="r2", config_yaml="", protocol=1)
                    asked.append(asyncio.ensure_future(ask(address, start)))
                    asked[0].add_done_callback(lambda _: run.abort("user", "enough", 130))

            observer.on_state = second
            await run.run()
            (refused,) = asked[0].result()
            assert "has been busy with run r1" in refused.error_message
            start = ControlMessage(command=ControlMessage.START, run_id="r3", config_yaml="", protocol=9)
            (refused,) = await ask(address, start)
            assert "install the same version of kvspic" in refused.error_message

    asyncio.run(main())


def test_a_port_in_use_is_a_sentence():
    async def main():
        async with agents(1) as running:
            with pytest.raises(BenchError, match="the port is in use") as caught:
                await AgentServer(parse_plan, QuickLoad).start(running[0][1])
            assert caught.value.code == 4

    asyncio.run(main())


def test_a_token_is_asked_for():
    async def main():
        async with agents(1, Security(token="right")) as running:
            addresses = [running[0][1]]
            record = await controller(addresses).run(Security(token="wrong"))
            assert record.exit_code == 4
            assert "UNAUTHENTICATED: the token is missing or wrong" in record.reason
            assert record.reason.endswith("give the agent's token by --token-file.")
            record = await controller(addresses).run(Security(token="right"))
            assert record.exit_code == 0

    asyncio.run(main())


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The agent's keys, with a certificate for loopback and the name bench, and the controller's; one authority."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    from kvspic.local.certificates import self_signed

    made = self_signed(tmp_path_factory.mktemp("tls"), "bench", datetime.now(timezone.utc))
    authority = x509.load_pem_x509_certificate(made.ca.read_bytes())
    signer = serialization.load_pem_private_key(made.ca.with_name("ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "controller")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(authority.not_valid_before_utc)
        .not_valid_after(authority.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    agent = Security(
        certificate=made.certificate.read_bytes(), key=made.key.read_bytes(), authority=made.ca.read_bytes()
    )
    return agent, Security(certificate=certificate.public_bytes(pem), key=private, authority=agent.authority)


def test_mutual_tls(keys):
    agent, own = keys

    async def main():
        async with agents(1, agent) as running:
            addresses = [running[0][1]]
            record = await controller(addresses).run(Security(authority=agent.authority))
            assert record.exit_code == 4  # it has no certificate to show
            assert "see that --tls-ca, --tls-cert" in record.reason
            assert (await controller(addresses).run(own)).exit_code == 0
            named = dataclasses.replace(own, server_name="bench")
            assert (await controller(addresses).run(named)).exit_code == 0

    asyncio.run(main())


def test_a_token_over_tls_and_an_authority_that_is_not_the_agents(keys):
    agent, own = keys
    behind = Security(certificate=agent.certificate, key=agent.key, token="right")

    async def main():
        async with agents(1, behind) as running:
            addresses = [running[0][1]]
            good = Security(authority=agent.authority, token="right")
            assert (await controller(addresses).run(good)).exit_code == 0
            record = await controller(addresses).run(Security(authority=own.certificate, token="right"))
            assert record.exit_code == 4
            assert "see that --tls-ca, --tls-cert" in record.reason

    asyncio.run(main())


OPEN = [Security(), Security(token="t"), Security(certificate=b"c", key=b"k")]
SAFE = [
    Security(is_insecure=True),
    Security(token="t", certificate=b"c", key=b"k"),
    Security(certificate=b"c", key=b"k", authority=b"a"),
]


@pytest.mark.parametrize("security", OPEN)
def test_an_agent_beyond_loopback_is_not_open(security):
    security.check_agent("127.0.0.1")
    security.check_agent("::1")
    with pytest.raises(BenchError, match="--token-file with --tls-cert"):
        security.check_agent("0.0.0.0")


@pytest.mark.parametrize("security", SAFE)
def test_an_agent_beyond_loopback_with_keys(security):
    security.check_agent("0.0.0.0")


def test_a_controller_sends_no_token_in_the_clear():
    Security(token="t").check_controller(["127.0.0.1", "localhost"])
    Security(token="t", authority=b"a").check_controller(["10.0.0.1"])
    with pytest.raises(BenchError, match=r"agent on 10\.0\.0\.1 would be called without TLS"):
        Security(token="t").check_controller(["127.0.0.1", "10.0.0.1"])


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "a:b:1", "host:x", "host:65536", "[::1]"])
def test_an_address_is_host_and_port(address):
    with pytest.raises(BenchError, match="host:port"):
        split_address(address)


def test_addresses():
    assert split_address("[::1]:7761") == ("::1", 7761)
    assert split_address("lab-1:0") == ("lab-1", 0)
    assert asyncio.run(addresses_of("127.0.0.1:7")) == ["127.0.0.1:7"]
    assert "127.0.0.1:7761" in asyncio.run(addresses_of("dns:localhost:7761"))
    with pytest.raises(BenchError, match="has no address") as caught:
        asyncio.run(addresses_of("dns:no-such-name.invalid:7761"))
    assert caught.value.code == 4
