"""Only regular files are read, and opening any other kind of file does not block."""

import errno
import os
import socket
import ssl

import pytest

from nulpoint.config import ConfigError, ConfigSource
from nulpoint.files import MAX_FILE_BYTES, path_of_regular_file, read_regular_file
from nulpoint.http.client.connector import tls_context
from support.certificates import self_signed_certificate

KEY = {"OPENAI_API_KEY": "sk-configured"}


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.close()


def make_device(path):
    path.symlink_to("/dev/zero")


def make_directory(path):
    path.mkdir()


def make_long(path):
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


ODD = {
    "a FIFO": (make_fifo, "it is a pipe (FIFO), and only regular files are read"),
    "a socket": (make_socket, "it is a socket, and only regular files are read"),
    "a device": (make_device, "it is a character device, and only regular files are read"),
    "a directory": (make_directory, "Is a directory"),
    "a file without end": (make_long, "it is longer than 16 MiB"),
}


@pytest.fixture(params=ODD.values(), ids=ODD)
def odd(request, tmp_path):
    """A path that is not a regular file, and the error message for it."""
    make, reason = request.param
    path = tmp_path / "odd"
    make(path)
    return path, reason


def test_whatever_is_no_regular_file_is_refused_at_once(odd):
    path, reason = odd
    with pytest.raises(OSError) as caught:
        read_regular_file(path)
    assert caught.value.strerror == reason


def test_a_regular_file_is_read_up_to_the_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * MAX_FILE_BYTES)
    assert len(read_regular_file(path)) == MAX_FILE_BYTES
    (tmp_path / "link").symlink_to(path)
    assert len(read_regular_file(str(tmp_path / "link"))) == MAX_FILE_BYTES


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "file"
    make_long(path)
    monkeypatch.setattr("nulpoint.files._check", lambda *_: None)  # as if the file had grown after it was checked
    with pytest.raises(OSError, match="longer than 16 MiB"):
        read_regular_file(path)


def test_a_file_that_is_replaced_between_the_look_and_the_opening(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("good")
    opening = os.open

    def replaced(name, flags):
        os.unlink(name)
        os.mkfifo(name)
        return opening(name, flags)

    monkeypatch.setattr("os.open", replaced)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="FIFO") as caught:
        read_regular_file(path)
    assert caught.value.errno == errno.EINVAL
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_name_of_an_open_file_leads_to_the_file_that_was_checked(tmp_path):
    path = tmp_path / "file"
    path.write_text("checked")
    with path_of_regular_file(path) as name:
        path.unlink()
        os.mkfifo(path)
        with open(name) as file:
            assert file.read() == "checked"


def refused(environ, folder, env_file=None):
    with pytest.raises(ConfigError) as caught:
        ConfigSource({**KEY, **environ}, folder, env_file).load()
    return "\n".join(map(str, caught.value.problems))


def test_config_yaml_and_the_env_file(odd, tmp_path):
    path, reason = odd
    assert f"{path}: cannot be read: {reason}" in refused({}, tmp_path, path)
    path.rename(tmp_path / "config.yaml")
    assert f"config.yaml: cannot be read: {reason}" in refused({}, tmp_path)


def test_a_missing_env_file_is_no_error(tmp_path):
    assert ConfigSource(KEY, tmp_path, tmp_path / "nowhere").load().providers
    (tmp_path / "file").write_text("")
    assert ConfigSource(KEY, tmp_path, tmp_path / "file" / "below").load().providers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed_certificate(tmp_path_factory.mktemp("certificate"))


def test_certificates_and_roots(odd, certificate, tmp_path):
    path, reason = odd
    cert, key = certificate
    for name, environ in (
        ("TLS_CERT", {"TLS_CERT": str(path), "TLS_KEY": str(key)}),
        ("TLS_KEY", {"TLS_CERT": str(cert), "TLS_KEY": str(path)}),
        ("SSL_CERT_FILE", {"SSL_CERT_FILE": str(path)}),
    ):
        told = refused(environ, tmp_path)
        assert told.startswith(f"{name} = ")
        assert reason in told
    with pytest.raises(OSError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        tls_context(str(path))
    good = {"TLS_CERT": str(cert), "TLS_KEY": str(key), "SSL_CERT_FILE": str(cert)}
    assert ConfigSource({**KEY, **good}, tmp_path).load().tls_cert == str(cert)
    assert isinstance(tls_context(str(cert)), ssl.SSLContext)


def test_a_credentials_file_of_googles(odd, tmp_path):
    pytest.importorskip("google.auth")
    path, reason = odd
    told = refused({"VERTEX_PROJECT": "p1", "GOOGLE_APPLICATION_CREDENTIALS": str(path)}, tmp_path)
    assert f"the credentials file cannot be read: {reason}" in told
