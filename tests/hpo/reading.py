"""What a study is compared by: its canonical export."""

from hpo.database.storage import Storage
from hpo.mirror.study import OpenStudy
from hpo.views.export import to_json


def exported(storage: Storage, study: OpenStudy) -> str:
    return storage.write(lambda connection: to_json(connection, study.stored))
