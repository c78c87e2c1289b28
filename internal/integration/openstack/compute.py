"""nova-compute with nova's fake virt driver, made to be a little less fake.

Its size comes from the environment; it keeps its instances when it is started anew, as a hypervisor does; and a snapshot of a server has
data, so that the image becomes active."""
import io
import os
import sys

from nova.cmd import compute  # first of all, as it patches what the others import
from nova.compute import manager
from nova.compute import power_state
from nova.image import glance
from nova.virt import fake

fake.FakeDriver.vcpus = int(os.environ['FAKE_VCPUS'])
fake.FakeDriver.memory_mb = int(os.environ['FAKE_MEMORY_MB'])
fake.FakeDriver.local_gb = int(os.environ['FAKE_DISK_GB'])

init_instance = manager.ComputeManager._init_instance


def remember(self, context, instance):
    there = (power_state.RUNNING, power_state.PAUSED, power_state.SHUTDOWN)
    if instance.power_state in there and instance.vm_state not in ('deleted', 'shelved_offloaded', 'building', 'error'):
        self.driver.instances[instance.uuid] = fake.FakeInstance(instance.name, instance.power_state, instance.uuid)
    return init_instance(self, context, instance)


manager.ComputeManager._init_instance = remember

snapshot = fake.FakeDriver.snapshot


def upload(self, context, instance, image_id, update_task_state):
    snapshot(self, context, instance, image_id, update_task_state)
    about = {'disk_format': 'raw', 'container_format': 'bare'}
    glance.API().update(context, image_id, about, io.BytesIO(os.urandom(4096)), purge_props=False)


fake.FakeDriver.snapshot = upload

sys.argv[0] = 'nova-compute'
sys.exit(compute.main())
