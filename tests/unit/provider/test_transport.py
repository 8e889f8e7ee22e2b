"""Transport. Goal: both directions at once over TCP and TLS, buffers that may be reused, a close that never waits."""

import asyncio
import contextlib
import itertools
import socket
import ssl

import pytest
from unit.provider.certificates import make_tls_pair
from unit.provider.servers import loopback_server, run_watched

from kvspic.provider.route import open_put_media
from kvspic.provider.transport import (
    ConnectTimeout,
    SendingForbidden,
    Transport,
    UnsupportedProtocol,
    dead_peer_options,
)


async def echo(peer):
    while data := await peer.reader.read(65536):
        await peer.say(data)


async def receive_exactly(transport, size):
    got = bytearray()
    while len(got) < size:
        data = await transport.receive()
        assert data, "the server closed too early"
        got += data
    return bytes(got)


def test_both_directions_run_at_once_with_one_reused_buffer(wire):
    server_tls, client_tls = wire
    buffer = bytearray(100_000)

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)

            async def send():
                for value in range(40):
                    buffer[:] = bytes([value]) * len(buffer)
                    await transport.send(memoryview(buffer))

            sending = asyncio.ensure_future(send())
            got = await receive_exactly(transport, 40 * len(buffer))
            await sending
            transport.close()
            return got

    got = run_watched(story())
    assert all(got[value * 100_000 : (value + 1) * 100_000] == bytes([value]) * 100_000 for value in range(40))


def test_the_end_of_the_servers_bytes_is_empty_and_stays_so(wire):
    server_tls, client_tls = wire

    async def script(peer):
        await peer.say(b"bye")

    async def story():
        async with loopback_server(script, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            received = [await transport.receive() for _ in range(3)]
            transport.close()
            return received

    assert run_watched(story()) == [b"bye", b"", b""]


def test_a_cancelled_receive_loses_nothing(wire):
    server_tls, client_tls = wire

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            for _ in range(3):
                receiving = asyncio.ensure_future(transport.receive())
                await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
            await transport.send(b"still here")
            data = await receive_exactly(transport, 10)
            transport.close()
            return data

    assert run_watched(story()) == b"still here"


class ProactorLike(asyncio.SelectorEventLoop):
    """A loop that watches no sockets, and whose cancelled receive has the bytes that came meanwhile, as on Windows."""

    def add_reader(self, *arguments):
        raise NotImplementedError

    add_writer = remove_reader = remove_writer = add_reader

    async def sock_recv(self, sock, size):
        future = self.create_future()

        def arrived():
            super(ProactorLike, self)._remove_reader(sock.fileno())
            data = sock.recv(size)
            if not future.done():
                future.set_result(data)

        super()._add_reader(sock.fileno(), arrived)
        return await future

    async def sock_sendall(self, sock, data):
        sock.send(data)


@pytest.mark.parametrize("is_listening", [False, True])
def test_where_a_cancelled_receive_takes_bytes_with_it_none_is_cancelled(is_listening):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def story():
        transport = Transport(ours)
        for word in (b"one ", b"two "):
            receiving = asyncio.ensure_future(transport.receive())
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            theirs.send(word)
            for _ in range(3):
                await asyncio.sleep(0)
        theirs.send(b"three")
        heard = []
        if is_listening:
            transport.listen(lambda data, error: heard.append(data))
            while b"".join(heard) != b"one two three":
                await asyncio.sleep(0)
        else:
            while b"".join(heard) != b"one two three":
                heard.append(await transport.receive())
        transport.close()
        await asyncio.sleep(0)

    loop = ProactorLike()
    try:
        loop.run_until_complete(asyncio.wait_for(story(), 5))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
        ours.close()
        theirs.close()


@pytest.mark.parametrize("platform, wanted", [("darwin", {(0x10, 15), (0x80, 10)}), ("win32", {(5, 10)})])
def test_other_systems_have_their_own_words_for_a_dead_peer(platform, wanted):
    assert wanted <= set(dead_peer_options(platform))
    assert (socket.TCP_KEEPINTVL, 5) in dead_peer_options(platform)


def test_close_wakes_a_waiting_receive_and_may_be_repeated(wire):
    server_tls, client_tls = wire

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            receiving = asyncio.ensure_future(transport.receive())
            await asyncio.sleep(0)
            transport.close()
            transport.close()
            woken = await asyncio.gather(receiving, return_exceptions=True)
            with pytest.raises(ConnectionAbortedError):
                await transport.send(b"x")
            return woken[0], transport._sock.fileno()

    woken, descriptor = run_watched(story())
    assert woken == b"" or isinstance(woken, OSError)
    assert descriptor == -1


def test_a_server_that_is_not_trusted_is_refused(tls_pair):
    async def story():
        async with loopback_server(echo, tls_pair[0]) as url:
            with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_put_media(url)

    run_watched(story())


def test_the_certificate_must_name_the_host(tls_pair):
    async def story():
        async with loopback_server(echo, tls_pair[0]) as url:
            port = int(url.rsplit(":", 1)[1])

            async def resolver(host, asked_port):
                return [(socket.AF_INET, ("127.0.0.1", asked_port))]

            with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_put_media(f"https://elsewhere.example:{port}", ssl_context=tls_pair[1], resolver=resolver)

    run_watched(story())


def test_each_address_is_tried():
    async def story():
        async with loopback_server(echo) as url:
            port = int(url.rsplit(":", 1)[1])
            dead = socket.create_server(("127.0.0.1", 0))
            dead_port = dead.getsockname()[1]
            dead.close()

            async def resolver(host, asked_port):
                return [(socket.AF_INET, ("127.0.0.1", dead_port)), (socket.AF_INET, ("127.0.0.1", port))]

            transport = await open_put_media("http://two.example", resolver=resolver)
            await transport.send(b"hello")
            data = await receive_exactly(transport, 5)
            transport.close()
            return data

    assert run_watched(story()) == b"hello"


def test_an_address_that_swallows_everything_holds_up_no_other():
    async def story():
        async with contextlib.AsyncExitStack() as stack:
            full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(4):  # whatever comes after them gets no answer
                queued = stack.enter_context(socket.socket())
                queued.setblocking(False)
                queued.connect_ex(full.getsockname())
            url = await stack.enter_async_context(loopback_server(echo))

            async def resolver(host, asked_port):
                port = int(url.rsplit(":", 1)[1])
                return [(socket.AF_INET, full.getsockname()), (socket.AF_INET, ("127.0.0.1", port))]

            transport = await open_put_media("http://two.example", resolver=resolver)
            await transport.send(b"hello")
            assert await receive_exactly(transport, 5) == b"hello"
            transport.close()

    run_watched(story())


def test_a_goodbye_of_tls_behind_the_handshake_is_the_end_of_the_answer(tmp_path):
    """TLS 1.2: the server's last words of the handshake, its answer and its goodbye come in one piece."""
    server_context, client_context = make_tls_pair(tmp_path)
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def polite(peer):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            incoming.write(await peer.reader.read(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            await peer.say(outgoing.read())
        tls.write(b"bye")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        await peer.say(outgoing.read())
        await peer.reader.read()  # and the connection stays open

    async def story():
        async with loopback_server(polite) as url:
            transport = await open_put_media(url.replace("http:", "https:"), ssl_context=client_context)
            ended = asyncio.get_running_loop().create_future()
            heard = []

            def hear(data, error):
                heard.append(data)
                if not data and not ended.done():
                    ended.set_result(error)

            transport.listen(hear)
            assert await asyncio.wait_for(ended, 5) is None
            transport.close()
            return heard

    assert run_watched(story()) == [b"bye", b""]


@pytest.mark.parametrize("name, value", [("TCP_KEEPIDLE", 15), ("TCP_USER_TIMEOUT", 10_000)])
def test_the_kernel_is_told_when_a_peer_is_dead(name, value):
    option = getattr(socket, name, None)
    if option is None:
        pytest.skip(f"this system has no {name}")

    async def story():
        async with loopback_server(echo) as url:
            transport = await open_put_media(url)
            found = transport._sock.getsockopt(socket.IPPROTO_TCP, option)
            transport.close()
            return found

    assert run_watched(story()) == value


def test_a_name_is_looked_up():
    async def story():
        async with loopback_server(echo) as url:
            transport = await open_put_media(url.replace("127.0.0.1", "localhost"))
            transport.close()

    run_watched(story())


def test_a_silent_name_server_ends_with_a_timeout():
    async def resolver(host, port):
        await asyncio.Event().wait()

    with pytest.raises(ConnectTimeout, match="within"):
        run_watched(open_put_media("http://slow.example", connect_timeout_s=0.05, resolver=resolver))


def test_a_silent_handshake_ends_with_a_timeout(tls_pair):
    async def silent(peer):
        await peer.reader.read()

    async def story():
        async with loopback_server(silent) as url:
            await open_put_media(url.replace("http:", "https:"), ssl_context=tls_pair[1], connect_timeout_s=0.1)

    with pytest.raises(ConnectTimeout):
        run_watched(story())


def test_a_closed_port_is_an_error_at_once():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        run_watched(open_put_media(f"http://127.0.0.1:{port}"))


def test_a_host_without_address_is_an_error():
    async def resolver(host, port):
        return []

    with pytest.raises(OSError, match="no address"):
        run_watched(open_put_media("http://nowhere.example", resolver=resolver))


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "", "http://"])
def test_what_is_no_endpoint_is_refused(url):
    with pytest.raises(UnsupportedProtocol):
        run_watched(open_put_media(url))


def test_a_cancelled_connect_leaves_no_socket(wire):
    server_tls, client_tls = wire

    async def story():
        async with loopback_server(echo, server_tls) as url:
            for steps in range(12):
                connecting = asyncio.ensure_future(open_put_media(url, ssl_context=client_tls))
                for _ in range(steps):
                    await asyncio.sleep(0)
                connecting.cancel()
                result = (await asyncio.gather(connecting, return_exceptions=True))[0]
                if not isinstance(result, BaseException):
                    result.close()
            for _ in range(20):
                await asyncio.sleep(0)

    run_watched(story())  # an open socket would be a ResourceWarning, which is an error here


class Gate:
    """Says False from the moment it is shut; counts how often it was asked."""

    def __init__(self):
        self.is_open, self.count = True, 0

    def __call__(self):
        self.count += 1
        return self.is_open


def test_a_gate_is_asked_before_each_send_to_the_kernel(wire):
    server_tls, client_tls = wire
    gate, sends = Gate(), []

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls, may_send=gate)
            assert transport._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 256 * 1024
            transport._sock = counting = CountingSocket(transport._sock)
            gate.count = 0
            receiving = asyncio.ensure_future(receive_exactly(transport, 3_000_000))
            await transport.send(bytes(3_000_000))
            await receiving
            sends.extend((gate.count, counting.send_count))
            transport.close()

    run_watched(story())
    assert sends[0] == sends[1] > 5


class CountingSocket:
    def __init__(self, sock):
        self._real, self.send_count = sock, 0

    def send(self, data):
        self.send_count += 1
        return self._real.send(data)

    def sendmsg(self, pieces):
        self.send_count += 1
        return self._real.sendmsg(pieces)

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_nothing_leaves_through_a_gate_that_is_shut_in_the_middle(wire):
    server_tls, client_tls = wire
    gate, got = Gate(), bytearray()
    ended = []

    async def slow(peer):
        await peer.reader.read(1000)
        gate.is_open = False
        try:
            while data := await peer.reader.read(65536):
                got.extend(data)
        except ConnectionResetError:
            ended.append("reset")
            raise
        ended.append("in order")

    async def story():
        async with loopback_server(slow, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls, may_send=gate)
            with pytest.raises(SendingForbidden):
                await transport.send(b"first" * 200)
                while True:
                    await transport.send(bytes(100_000))
                    await asyncio.sleep(0)
            while not ended:
                await asyncio.sleep(0)
            transport.close()
            return transport._sock.fileno()

    assert run_watched(story()) == -1
    assert ended == ["reset"] or server_tls  # asyncio's TLS does not tell its reader of a reset


def test_a_gate_that_raises_is_shut():
    def gate():
        raise ZeroDivisionError

    async def story():
        async with loopback_server(echo) as url:
            transport = await open_put_media(url, may_send=gate)
            with pytest.raises(SendingForbidden):
                transport.send_now(b"x")

    run_watched(story())


def test_a_handshake_asks_the_gate_too(tls_pair):
    gate = Gate()
    gate.is_open = False

    async def story():
        async with loopback_server(echo, tls_pair[0]) as url:
            with pytest.raises(SendingForbidden):
                await open_put_media(url, ssl_context=tls_pair[1], may_send=gate)

    run_watched(story())


@pytest.mark.parametrize("is_blocked", [False, True])
def test_abort_resets_the_connection_and_says_no_goodbye(wire, is_blocked):
    server_tls, client_tls = wire
    ended = []

    async def script(peer):
        await peer.reader.readexactly(5)
        try:
            while await peer.reader.read(65536):
                await asyncio.sleep(0.01 * is_blocked)
        except OSError as error:
            ended.append(error)
            raise
        ended.append(None)

    async def story():
        async with loopback_server(script, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            await transport.send(b"hello")
            sending = asyncio.ensure_future(transport.send(bytes(20_000_000 if is_blocked else 1)))
            for _ in range(5):
                await asyncio.sleep(0)
            transport.abort()
            transport.abort()
            transport.close()
            result = (await asyncio.gather(sending, return_exceptions=True))[0]
            while not ended:
                await asyncio.sleep(0)
            return result, transport._sock.fileno()

    result, descriptor = run_watched(story())
    assert descriptor == -1
    assert isinstance(result, ConnectionAbortedError) if is_blocked else result is None
    assert isinstance(ended[0], ConnectionResetError) or server_tls


def test_what_arrives_is_given_in_pieces_that_leave_others_their_turns(wire):
    """A server that sends without a pause: the loop's other callbacks run after each 16 KB."""
    server_tls, client_tls = wire
    rounds, given = [], []

    async def flood(peer):
        while True:
            await peer.say(bytes(100_000))

    async def story():
        async with loopback_server(flood, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            transport.listen(lambda data, error: given.append(len(data)))
            while len(given) < 200:
                await asyncio.sleep(0)
                rounds.append(len(given))
            transport.close()

    run_watched(story())
    assert max(given) <= 64 * 1024
    assert max(after - before for before, after in itertools.pairwise(rounds)) <= 1
