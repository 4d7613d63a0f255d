"""Ceph RGW: a real, strict S3 in byte order, as a one-host cluster on loopback (17 s to start, 0.5 GB of memory).

Accepts any key of up to 1,024 bytes. Version 16.2 ignores additional checksums, also wrong ones.
"""

import http.client
import os
import subprocess
import uuid
from pathlib import Path

from .processes import binary, free_ports, spawn, wait_until
from .running import Running
from .s3server import Account, S3Server

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph", "monmaptool", "ceph-authtool")
ACCOUNTS = {"a": Account("AKIATESTAAAA", "secretA0000000000"), "b": Account("AKIATESTBBBB", "secretB0000000000")}
STORAGE_CLASSES = ("STANDARD_IA", "GLACIER", "DEEP_ARCHIVE")

_CONF = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]
public_addr = 127.0.0.1
keyring = {dir}/keyring
auth_allow_insecure_global_id_reclaim = false
mon_data = {dir}/mon
mgr_data = {dir}/mgr
osd_data = {dir}/osd
rgw_data = {dir}/rgw
run_dir = {dir}/run
admin_socket = {dir}/run/$name.$pid.asok
log_file = {dir}/log/$name.log
log_to_stderr = false
# one disk, one copy
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 1000
# a nearly full machine is no reason to stop a test
mon_data_avail_crit = 1
mon_data_avail_warn = 2
osd_objectstore = bluestore
bluestore_block_create = true
bluestore_block_size = 42949672960
osd_memory_target = 1073741824
bluestore_cache_autotune = false

[mgr]
mgr_initial_modules =

[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_dns_name = localhost
rgw_thread_pool_size = 64
rgw_max_concurrent_requests = 256
"""


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    absent = [name for name in PROGRAMS if binary(name) is None]
    return (
        f"Ceph RGW is not installed: no {', '.join(absent)} (apt: radosgw ceph-mon ceph-mgr ceph-osd)" if absent else ""
    )


def start(folder: Path, *, keep: bool) -> Running:
    """A cluster of one monitor, manager, disk and gateway, with two users. Returns when a request is answered."""
    cluster = _Cluster(folder, keep=keep)
    try:
        cluster.monitor()
        cluster.disk()
        cluster.users_and_classes()
        cluster.gateway()
    except BaseException:
        cluster.running().stop()
        raise
    return cluster.running()


class _Cluster:
    def __init__(self, folder: Path, *, keep: bool) -> None:
        self.folder = folder
        self.keep = keep
        self.pids: list[int] = []
        self.port, mon, mon_v1 = free_ports(3)
        self.address = f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_v1}]"
        self.fsid = str(uuid.uuid4())
        for name in ("mon", "mgr", "osd", "rgw", "run", "log"):
            (folder / name).mkdir(parents=True)
        self.conf = folder / "ceph.conf"
        self.conf.write_text(_CONF.format(dir=folder, fsid=self.fsid, mon=mon, mon_v1=mon_v1, port=self.port))
        self.log = folder / "log" / "output"

    def running(self) -> Running:
        a, b = ACCOUNTS["a"], ACCOUNTS["b"]
        endpoint = f"http://127.0.0.1:{self.port}"
        server = S3Server("rgw", endpoint, a.access_key, a.secret_key, second=b)
        return Running(server, self.folder, tuple(self.pids))

    def run(self, *command: str) -> None:
        """One administrative command; its output is in the error if it fails."""
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            env=dict(os.environ, CEPH_CONF=str(self.conf)),
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")

    def daemon(self, *command: str) -> None:
        process = spawn([*command, "-f", "-c", str(self.conf)], self.log, keep=self.keep)
        self.pids.append(process.pid)
        process.returncode = 0  # ended by pid, see processes.end: nothing for Popen to warn about

    def monitor(self) -> None:
        keyring, monmap = str(self.folder / "keyring"), str(self.folder / "monmap")
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", self.address, monmap)
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.run("ceph-authtool", keyring, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "client.rgw", "mgr.x", "osd.0"):
            self.run("ceph-authtool", keyring, "--gen-key", "-n", name, *everything)
        self.run("ceph-mon", "--mkfs", "-i", "a", "--keyring", keyring, "--monmap", monmap, "-c", str(self.conf))
        self.daemon("ceph-mon", "-i", "a")

    def disk(self) -> None:
        disk = str(uuid.uuid4())
        self.run("ceph", "--connect-timeout", "60", "osd", "new", disk)  # waits for the monitor
        self.daemon("ceph-mgr", "-i", "x")
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self.daemon("ceph-osd", "-i", "0")

    def users_and_classes(self) -> None:
        """Before the gateway starts, because it reads storage classes once."""
        admin = ("radosgw-admin", "--rgw-cache-enabled=false")
        for name, account in ACCOUNTS.items():
            keys = (f"--access-key={account.access_key}", f"--secret-key={account.secret_key}")
            self.run(*admin, "user", "create", f"--uid={name}", f"--display-name={name}", *keys)
        for name in STORAGE_CLASSES:  # after the first user, who brings the default zone into being
            place = ("--placement-id", "default-placement", "--storage-class", name)
            self.run(*admin, "zonegroup", "placement", "add", "--rgw-zonegroup", "default", *place)
            pool = ("--data-pool", "default.rgw.buckets.data")
            self.run(*admin, "zone", "placement", "add", "--rgw-zone", "default", *place, *pool)

    def gateway(self) -> None:
        self.daemon("radosgw", "-n", "client.rgw")
        wait_until(self._answers, "Ceph RGW", 90, self.log)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()
