"""A configuration says what runs; every mistake in it is one error that names field, value and limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiandi.control.controller import controlled
from tiandi.errors import InputError, NoRoute
from tiandi.kms.directory import Directory, PairPolicy, Partner, Sae
from tiandi.kms.operating.configuration import read_configuration
from tiandi.kms.operating.configuration_tables import Configuration
from tiandi.kms.operating.routes_table import RoutesTable

LEAST = """
[kme]
id = "kme-a"
[listen]
port = 8443
[database]
sqlite = "a.sqlite"
[keys]
master_key = "file:a.master"
[tls]
certificate = "a.crt"
private_key = "a.key"
authority = "authority.crt"
"""
NETWORK = """
[[peers]]
id = "kme-b"
address = "https://b.example:8443"
[[peers]]
id = "kme-c"
address = ["https://c1.example:8443", "https://[2001:db8::c]:8443"]
[[saes]]
id = "alice"
home = "kme-a"
[[saes]]
id = "bob"
home = "kme-c"
system_id = "router-bob"
"""
LINKS = """
[[links]]
ends = ["kme-a", "kme-b"]
[[links]]
ends = ["kme-b", "kme-c"]
[[links]]
ends = ["kme-a", "kme-c"]
"""
PARTNER = """
[[partners]]
name = "east"
kme_id = "kme-x"
address = "https://x.example:8020"
port = 8020
own_address = "https://a.example:8020"
authority = ["east/authority.crt", "east/authority+ml-dsa-65.crt"]
revocations = "east/authority.crl"
"""
BEYOND = """
[[saes]]
id = "eve"
beyond = "east"
"""
INNER = """
[[partners]]
name = "east"
border = "kme-b"
"""
BOX = """
[[sources]]
kind = "etsi014"
name = "box 1-2"
peer = "kme-b"
role = "initiator"
address = "https://box:443"
box_kme = "box"
sae = "kme-a"
far_sae = "kme-b"
certificate = "box.crt"
private_key = "box.key"
authority = "box.authority.crt"
"""


def read(folder: Path, text: str) -> Configuration:
    path = folder / "kme.toml"
    path.write_text(text, encoding="utf-8")
    return read_configuration(path)


def test_the_least_configuration_is_one_kme_that_shares_keys_with_nobody(tmp_path: Path) -> None:
    configuration, directory = read(tmp_path, LEAST), Directory()
    configuration.put_into(directory, configuration.routes_table())
    assert configuration.listen.address == "127.0.0.1"
    assert configuration.skip is None
    assert directory.pairs == set()
    assert directory.saes == {}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    configuration = read(tmp_path, LEAST)
    assert configuration.credentials().certificate == tmp_path / "a.crt"
    assert configuration.master_key() == f"file:{tmp_path / 'a.master'}"
    absolute = read(tmp_path, LEAST.replace('"a.crt"', '"/etc/a.crt"'))
    assert absolute.credentials().certificate == Path("/etc/a.crt")


def test_what_is_no_path_of_a_master_key_stays_as_it_is(tmp_path: Path) -> None:
    setting = "command:pass show kme-a"
    assert read(tmp_path, LEAST.replace("file:a.master", setting)).master_key() == setting


def test_both_certificates_and_every_authority_are_found(tmp_path: Path) -> None:
    tls = 'authority = ["authority.crt", "authority+ml-dsa-65.crt"]\n[tls.post_quantum]\ncertificate = "q.crt"\nprivate_key = "q.key"\n'
    credentials = read(tmp_path, LEAST.replace('authority = "authority.crt"\n', tls)).credentials()
    assert credentials.post_quantum is not None
    assert credentials.post_quantum.certificate == tmp_path / "q.crt"
    assert credentials.also_trusted == (tmp_path / "authority.crt", tmp_path / "authority+ml-dsa-65.crt")


def test_a_network_is_put_into_the_directory(tmp_path: Path) -> None:
    pair = '[[pairs]]\nmaster = "alice"\nslave = "bob"\npaths = 2\npriority = 0\nmaximum_bps = 4096\n'
    configuration, directory = read(tmp_path, LEAST + NETWORK + LINKS + pair), Directory()
    configuration.put_into(directory, controlled(configuration, None))
    assert directory.home("bob") == "kme-c"
    assert directory.saes["bob"].system_id == "router-bob"
    assert directory.kme_addresses["kme-c"] == ("https://c1.example:8443", "https://[2001:db8::c]:8443")
    assert directory.policy("alice", "bob") == PairPolicy(priority=0, maximum_bps=4096, paths=2)
    assert directory.pairs == {("alice", "bob")}
    assert directory.find_routes("kme-a", "kme-c", 1, 1) == [["kme-a", "kme-c"]]
    assert directory.find_routes("kme-a", "kme-c", 1, 2) == [["kme-a", "kme-c"], ["kme-a", "kme-b", "kme-c"]]


def test_a_partner_and_the_saes_beyond_it_are_put_into_the_directory(tmp_path: Path) -> None:
    configuration, directory = read(tmp_path, LEAST + PARTNER + BEYOND), Directory()
    configuration.put_into(directory, configuration.routes_table())
    assert directory.saes["eve"] == Sae("kme-a", beyond="east")
    assert directory.partners["east"] == Partner("kme-a", "kme-x", "https://x.example:8020", "https://a.example:8020")
    [partner] = configuration.partners
    credentials = configuration.partner_credentials(partner)
    assert credentials.certificate == tmp_path / "a.crt"
    assert credentials.also_trusted == (tmp_path / "east" / "authority.crt", tmp_path / "east" / "authority+ml-dsa-65.crt")
    assert credentials.revocations == tmp_path / "east" / "authority.crl"
    assert partner.rule().roles == {"kme-x": "kme"}


def test_a_kme_within_the_network_knows_which_border_leads_to_a_partner(tmp_path: Path) -> None:
    directory = Directory()
    configuration = read(tmp_path, LEAST + NETWORK + INNER + BEYOND + 'home = "kme-b"\n')
    configuration.put_into(directory, configuration.routes_table())
    assert directory.saes["eve"] == Sae("kme-b", beyond="east")
    assert directory.partners["east"].border == "kme-b"


def test_any_pair_may_share_keys_only_where_that_is_said(tmp_path: Path) -> None:
    directory = Directory()
    configuration = read(tmp_path, LEAST.replace('id = "kme-a"\n', 'id = "kme-a"\nany_pair = true\n', 1) + NETWORK)
    configuration.put_into(directory, configuration.routes_table())
    assert directory.pairs is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[kme", "configuration"),
        (LEAST.replace('id = "kme-a"', ""), "kme"),
        (LEAST.replace('id = "kme-a"', 'id = "kme a"'), "kme.id"),
        (LEAST.replace('id = "kme-a"', "id = 7"), "kme.id"),
        (LEAST + "[odd]\n", "configuration"),
        (LEAST + 'file = "x"\n', "tls"),
        ('file = "x"\n' + LEAST, "file"),
        (LEAST.replace("port = 8443", "port = 8443\nport_s = 1"), "listen"),
        (LEAST.replace("8443", "65536"), "listen.port"),
        (LEAST.replace("port = 8443", "port = 8443\n[listen.streams]\nport = 8443"), "listen.streams.port"),
        (LEAST.replace("port = 8443", 'port = 8443\naddress = "localhost"'), "listen.address"),
        (LEAST.replace('sqlite = "a.sqlite"', ""), "database"),
        (LEAST.replace('sqlite = "a.sqlite"', 'sqlite = "a"\npostgresql = "b"'), "database"),
        (LEAST.replace('authority = "authority.crt"', "authority = []"), "tls.authority"),
        (LEAST + 'identity_from = ["subject"]\n', "tls.identity_from[0]"),
        (LEAST + "[limits]\nkey_size = 12\n", "key_size"),
        (LEAST + "[limits]\nkey_sise = 256\n", "limits"),
        (LEAST + "[expiry]\nlink_key_s = 0\n", "expiry.link_key_s"),
        (LEAST + '[[peers]]\nid = "kme-a"\naddress = "https://a:1"\n', "peers[0].id"),
        (LEAST + '[[peers]]\nid = "kme-b"\naddress = "http://b:1"\n', "peers[0].address"),
        (LEAST + '[[peers]]\nid = "kme-b"\naddress = "https://b"\n', "peers[0].address"),
        (LEAST + '[[peers]]\nid = "kme-b"\naddress = "https://b:port"\n', "peers[0].address"),
        (LEAST + '[[peers]]\nid = "kme-b"\naddress = "https://b:1/kx"\n', "peers[0].address"),
        (LEAST + '[[peers]]\nid = "kme-b"\naddress = []\n', "peers[0].address"),
        (LEAST + '[[peers]]\nid = "b"\naddress = "https://b:1"\n' * 2, "peers"),
        (LEAST + '[[saes]]\nid = "alice"\nhome = "kme-z"\n', "saes[0].home"),
        (LEAST + '[[saes]]\nid = "a/b"\nhome = "kme-a"\n', "saes[0].id"),
        (LEAST + '[[saes]]\nid = "alice"\nhome = "kme-a"\n' * 2, "saes"),
        (LEAST + NETWORK + '[[saes]]\nid = "c"\nhome = "kme-a"\nsystem_id = "router-bob"\n', "names"),
        (LEAST + NETWORK + '[[pairs]]\nmaster = "alice"\nslave = "carol"\n', "pairs[0].slave"),
        (LEAST + NETWORK + '[[pairs]]\nmaster = "alice"\nslave = "bob"\n' * 2, "pairs"),
        (LEAST + NETWORK + '[[pairs]]\nmaster = "alice"\nslave = "bob"\npriority = -1\n', "pairs[0].priority"),
        (LEAST + NETWORK + '[[pairs]]\nmaster = "alice"\nslave = "bob"\nminimum_bps = 2\nmaximum_bps = 1\n', "pairs[0].maximum_bps"),
        (LEAST + NETWORK + '[[pairs]]\nmaster = "alice"\nslave = "bob"\npaths = 4\nthreshold = 2\n', "pairs[0].threshold"),
        (LEAST + NETWORK + '[[pairs]]\nmaster = "alice"\nslave = "bob"\nrelay_form = "shouted"\n', "pairs[0].relay_form"),
        (LEAST + NETWORK + '[[links]]\nends = ["kme-a"]\n', "links[0].ends"),
        (LEAST + NETWORK + '[[links]]\nends = ["kme-a", "kme-z"]\n', "links[0].ends"),
        (LEAST + NETWORK + LINKS + '[[routes]]\nnodes = ["kme-a", "kme-b"]\n', "routes"),
        (LEAST + NETWORK + '[[routes]]\nnodes = ["kme-a", "kme-b", "kme-a"]\n', "routes[0].nodes"),
        (LEAST + NETWORK + '[[sources]]\nkind = "carrier pigeon"\npeer = "kme-b"\n', "sources[0].kind"),
        (LEAST + NETWORK + '[[sources]]\nkind = "files"\npeer = "kme-z"\nfolder = "keys"\n', "sources[0].peer"),
        (LEAST + NETWORK + '[[sources]]\nkind = "files"\npeer = "kme-b"\nfolder = "keys"\n' * 2, "sources"),
        (LEAST + NETWORK + BOX.replace("box 1-2", ""), "sources[0].name"),
        (LEAST + NETWORK + BOX.replace('"initiator"', '"both"').replace("box 1-2", "box"), "sources[0].role"),
        (LEAST + NETWORK + BOX.replace("https://box:443", "box:443").replace("box 1-2", "box"), "sources[0].address"),
        (LEAST + "[skip]\nremote = []\n", "remote"),
        (LEAST + '[[saes]]\nid = "alice"\n', "saes[0].home"),
        (LEAST + BEYOND, "saes[0].beyond"),
        (LEAST + PARTNER + BEYOND + 'home = "kme-z"\n', "saes[0].home"),
        (LEAST + NETWORK + INNER + BEYOND + 'home = "kme-a"\n', "saes[2].home"),
        (LEAST + PARTNER.replace('"east"', '"e st"'), "partners[0].name"),
        (LEAST + PARTNER.replace('kme_id = "kme-x"', ""), "partners[0].kme_id"),
        (LEAST + PARTNER.replace('"kme-x"', '"kme:x"'), "partners[0].kme_id"),
        (LEAST + PARTNER.replace("address =", "adress =", 1), "partners[0]"),
        (LEAST + PARTNER.replace("https://x", "http://x"), "partners[0].address"),
        (LEAST + PARTNER.replace("https://a.example:8020", "https://a.example/8020"), "partners[0].own_address"),
        (LEAST + PARTNER.replace("port = 8020", ""), "partners[0].port"),
        (LEAST + PARTNER.replace("port = 8020", "port = 0"), "partners[0].port"),
        (LEAST + PARTNER.replace("port = 8020", "port = 8443"), "partners[0].port"),
        (LEAST + PARTNER.replace("authority = [", "authority = []#"), "partners[0].authority"),
        (LEAST + PARTNER + 'identity_from = ["dns"]\n', "partners[0].identity_from[0]"),
        (LEAST + PARTNER + PARTNER.replace('"east"', '"west"').replace("kme-x", "kme-y"), "partners[1].port"),
        (LEAST + PARTNER + PARTNER.replace("port = 8020", "port = 8021").replace("kme-x", "kme-y"), "partners"),
        (LEAST + PARTNER + PARTNER.replace("port = 8020", "port = 8021").replace('"east"', '"west"'), "partners"),
        (LEAST + PARTNER + 'border = "kme-b"\n', "partners[0].kme_id"),
        (LEAST + INNER, "partners[0].border"),
        (LEAST + NETWORK + INNER + "port = 8020\n", "partners[0].port"),
    ],
)
def test_every_mistake_is_one_error_with_its_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(InputError) as told:
        read(tmp_path, text)
    assert told.value.field == field
    assert "\n" not in str(told.value)


def test_an_error_near_a_secret_does_not_show_it(tmp_path: Path) -> None:
    for text in (
        LEAST.replace('"file:a.master"', '["c0ffee"]'),
        LEAST.replace('sqlite = "a.sqlite"', 'postgresql = {password = "c0ffee"}'),
        LEAST.replace('sqlite = "a.sqlite"', 'sqlite = "a"\npostgresql = "postgresql://kme:c0ffee@db/kme"'),
    ):
        with pytest.raises(InputError) as told:
            read(tmp_path, text)
        assert "c0ffee" not in str(told.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml"):
        read_configuration(tmp_path / "none.toml")


def test_of_explicit_routes_nothing_else_is_approved_or_taken() -> None:
    table = RoutesTable([("a", "b", "c"), ("a", "d", "e", "c"), ("a", "b", "e", "c")])
    assert table.find("a", "c", 0, 3) == [["a", "b", "c"], ["a", "d", "e", "c"]]
    assert table.find("c", "a", 0, 1) == [["c", "b", "a"]]
    assert ("a", "b") not in table
    assert table.neighbours("b") == {"a", "c", "e"}
    with pytest.raises(NoRoute):
        table.find("a", "z", 0, 1)
    with pytest.raises(NoRoute, match="trusted as own"):
        table.find("a", "c", 0, 1, least_trust="own")


def test_a_neighbour_without_key_is_passed_by_where_there_is_another_way() -> None:
    table = RoutesTable([("a", "c"), ("a", "b", "c")])
    table.stock_bit = {"c": 100, "b": 5000}
    assert table.find("a", "c", 1000, 1) == [["a", "b", "c"]]
    assert table.find("a", "c", 100, 1) == [["a", "c"]]
    table.stock_bit = {"c": 100, "b": 100}
    assert table.find("a", "c", 1000, 1) == [["a", "c"]], "the one who asks hears which stock is too small"
