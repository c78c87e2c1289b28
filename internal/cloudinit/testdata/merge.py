"""Prints, as JSON, what the real cloud-init makes of the user-data file that is named: the merged cloud-config, the users as it will
create them, and the types of all parts."""
import json, sys, tempfile

from cloudinit import handlers, helpers, user_data
from cloudinit.distros import debian, ug_util
from cloudinit.handlers.cloud_config import CloudConfigPartHandler

with tempfile.TemporaryDirectory() as tmp:
    paths = helpers.Paths({"cloud_dir": tmp, "run_dir": tmp})
    handler = CloudConfigPartHandler(paths)
    handler.handle_part(None, handlers.CONTENT_START, None, None, None, None)
    types = []
    with open(sys.argv[1], "rb") as f:
        message = user_data.UserDataProcessor(paths).process(f.read())
    for part in message.walk():
        if part.get_content_maintype() == "multipart":
            continue
        kind = part.get_content_type()
        types.append(kind)
        if kind in ("text/cloud-config", "text/cloud-config-jsonp"):
            payload = part.get_payload(decode=True).decode()
            handler.handle_part(None, kind, part.get_filename(), payload, None, dict(part))
    config = handler.cloud_buf
    distro = debian.Distro("debian", {"system_info": {}, "default_user": {"name": "debian", "groups": ["adm"]}}, paths)
    merged = json.loads(json.dumps(config))
    users, _ = ug_util.normalize_users_groups(config, distro)
    print(json.dumps({"config": merged, "users": users, "types": types}))
