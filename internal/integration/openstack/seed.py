#!/usr/bin/python3
"""Fills the cloud of up.sh through its own interfaces: seed.py STATE identity | computes NAME ... | content NAME ...

What is there already is left as it is."""
import json
import os
import sys
import time

import requests

state, what, names = sys.argv[1], sys.argv[2], sys.argv[3:]
with open(os.path.join(state, 'ports')) as f:
    base = {name: 'http://127.0.0.1:' + port for name, port in (line.strip().split('=') for line in f)}
keystone, nova, glance, neutron = base['keystone'] + '/v3', base['nova'] + '/v2.1', base['glance'] + '/v2', base['neutron'] + '/v2.0'
http = requests.Session()
http.trust_env = False


def login(user, project):
    """Returns the token and what is said about it."""
    auth = {'identity': {'methods': ['password'], 'password': {'user': {'name': user, 'domain': {'id': 'default'}, 'password': user + '-secret'}}},
            'scope': {'project': {'name': project, 'domain': {'id': 'default'}}}}
    answer = http.post(keystone + '/auth/tokens', json={'auth': auth}, timeout=120)
    answer.raise_for_status()
    return answer.headers['X-Subject-Token'], answer.json()['token']


token, _ = login('admin', 'admin')


def call(method, url, body=None, as_token=None, **more):
    headers = {'X-Auth-Token': as_token or token, **more.pop('headers', {})}
    answer = http.request(method, url, json=body, headers=headers, timeout=120, **more)
    if not answer.ok:
        raise SystemExit('%s %s: %d %s' % (method, url, answer.status_code, answer.text[:500]))
    return answer.json() if answer.content else None


def find(url, name):
    """Returns the one of that name of a collection."""
    path = url.split('?')[0].split('/')[-1]
    return next((x for x in call('GET', url)[path] if x['name'] == name), None)


def ensure(url, kind, **body):
    return find(url, body['name']) or call('POST', url, {kind: body})[kind]


def until(what, missing):
    """Waits until nothing is missing."""
    end = time.time() + 180
    while missing():
        if time.time() > end:
            raise SystemExit('%s: still missing: %s' % (what, missing()))
        time.sleep(0.5)


def identity():
    roles = {name: ensure(keystone + '/roles', 'role', name=name)['id'] for name in ('admin', 'member', 'reader', 'service')}
    for user, project, held in (('service', 'service', ('admin', 'service')), ('member', 'berthage', ('member', 'reader'))):
        p = ensure(keystone + '/projects', 'project', name=project, domain_id='default')['id']
        u = ensure(keystone + '/users', 'user', name=user, domain_id='default', password=user + '-secret')['id']
        for role in held:
            call('PUT', '%s/projects/%s/users/%s/roles/%s' % (keystone, p, u, roles[role]))
    there = {(e['service_id'], e['interface']) for e in call('GET', keystone + '/endpoints')['endpoints']}
    for name, kind, url in (('nova', 'compute', nova), ('placement', 'placement', base['placement']), ('glance', 'image', base['glance']),
                            ('neutron', 'network', base['neutron'])):
        service = ensure(keystone + '/services', 'service', name=name, type=kind)['id']
        for interface in ('public', 'internal', 'admin'):
            if (service, interface) not in there:
                call('POST', keystone + '/endpoints', {'endpoint': {'service_id': service, 'interface': interface, 'url': url, 'region_id': 'RegionOne'}})


def computes():
    def down():
        return set(names) - {s['host'] for s in call('GET', nova + '/os-services?binary=nova-compute')['services'] if s['state'] == 'up'}
    until('compute services', down)


def known():
    """Returns the clouds of an earlier start whose credentials are good; nobody else can read a secret again."""
    try:
        with open(os.path.join(state, 'clouds.yaml')) as f:
            clouds = json.load(f)['clouds']
        for user in ('member', 'admin'):
            auth = clouds[user]['auth']
            credential = {'id': auth['application_credential_id'], 'secret': auth['application_credential_secret']}
            body = {'auth': {'identity': {'methods': ['application_credential'], 'application_credential': credential}}}
            http.post(keystone + '/auth/tokens', json=body, timeout=120).raise_for_status()
        return clouds
    except (OSError, ValueError, KeyError, requests.HTTPError):
        return {}


def content():
    until('hypervisors', lambda: set(names) - {h['hypervisor_hostname'] for h in call('GET', nova + '/os-hypervisors')['hypervisors']})
    # cores, MiB, GiB of the root disk, GiB of further disks
    for name, sizes in {'c1.tiny': (1, 512, 1, 0), 'c1.small': (1, 1024, 2, 0), 'c2.small': (2, 1024, 2, 0), 'c1.data': (1, 512, 1, 4),
                        'c2.medium': (2, 4096, 20, 0), 'c4.large': (4, 8192, 80, 20)}.items():
        if not find(nova + '/flavors', name):
            body = dict(zip(('vcpus', 'ram', 'disk', 'OS-FLV-EXT-DATA:ephemeral'), sizes), name=name, id=name)
            call('POST', nova + '/flavors', {'flavor': body})
    for name, distribution in (('debian-12', 'debian'), ('alma-9', 'almalinux')):
        if not find(glance + '/images', name):
            image = call('POST', glance + '/images', {'name': name, 'disk_format': 'raw', 'container_format': 'bare', 'visibility': 'public',
                                                      'os_distro': distribution, 'min_disk': 1, 'min_ram': 256})
            call('PUT', '%s/images/%s/file' % (glance, image['id']), data=os.urandom(4096), headers={'Content-Type': 'application/octet-stream'})
    network = ensure(neutron + '/networks', 'network', name='net0', shared=True)['id']
    if not find(neutron + '/subnets', 'sub0'):
        call('POST', neutron + '/subnets', {'subnet': {'name': 'sub0', 'network_id': network, 'ip_version': 4, 'cidr': '10.10.0.0/16', 'enable_dhcp': False}})
    project = find(keystone + '/projects', 'berthage')['id']
    call('PUT', nova + '/os-quota-sets/' + project, {'quota_set': {'cores': 100, 'ram': 200000, 'instances': 60, 'force': True}})
    clouds = known()
    for user, project in (('member', 'berthage'), ('admin', 'admin')):
        if user in clouds:
            continue
        its, said = login(user, project)
        url = '%s/users/%s/application_credentials' % (keystone, said['user']['id'])
        for c in call('GET', url, as_token=its)['application_credentials']:
            call('DELETE', url + '/' + c['id'], as_token=its)
        c = call('POST', url, {'application_credential': {'name': 'berthage'}}, its)['application_credential']
        clouds[user] = {'auth_type': 'v3applicationcredential', 'region_name': 'RegionOne', 'auth': {
            'auth_url': keystone, 'application_credential_id': c['id'], 'application_credential_secret': c['secret']}}
        clouds[user + '-password'] = {'region_name': 'RegionOne', 'auth': {
            'auth_url': keystone, 'username': user, 'password': user + '-secret', 'project_name': project,
            'user_domain_id': 'default', 'project_domain_id': 'default'}}
    with open(os.path.join(state, 'clouds.yaml'), 'w') as f:
        json.dump({'clouds': clouds}, f, indent=1)  # which is YAML too
    with open(os.path.join(state, 'env'), 'w') as f:
        f.write('export OS_CLIENT_CONFIG_FILE=%s/clouds.yaml\nexport OS_CLOUD=member\n' % state)
        f.write('export BERTHAGE_OPENSTACK_ADMIN=admin\nexport BERTHAGE_OPENSTACK_IMAGE=debian-12\nexport BERTHAGE_OPENSTACK_NETWORK=net0\nexport BERTHAGE_OPENSTACK_DISPOSABLE=yes\n')


{'identity': identity, 'computes': computes, 'content': content}[what]()
print(what, 'done')
