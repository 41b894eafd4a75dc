"""What the page may change: tags, notes, names and descriptions, and what lies in the trash."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from frameworm.experiment.errors import InputError
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.parameters import Ids
from frameworm.experiment.server.store import Opened

router = APIRouter(tags=["edits"])


class Edit(BaseModel):
    """What to change, in each of the experiments; what is not given stays."""

    model_config = ConfigDict(extra="forbid")

    ids: Ids
    add_tags: list[str] = []
    remove_tags: list[str] = []
    note: str | None = Field(None, description="Added to the notes.")
    name: str | None = None
    description: str | None = None


class Deletion(BaseModel):
    """What to move to the trash."""

    model_config = ConfigDict(extra="forbid")

    ids: Ids
    force: bool = Field(False, description="Those that run as well.")


class Restoration(BaseModel):
    """What to bring back from the trash."""

    model_config = ConfigDict(extra="forbid")

    ids: Ids


@router.post("/experiments/edit")
def edit(store: Opened, change: Edit) -> Json:
    """Edit experiments, running or ended: `{edited: [ids]}`."""
    from frameworm.experiment.keeping.edit import edit_all
    from frameworm.experiment.texts import checked_tags, checked_text

    store.check_writable()
    events: list[dict[str, object]] = []
    if change.add_tags or change.remove_tags:
        add, remove = checked_tags(change.add_tags), checked_tags(change.remove_tags)
        events.append({"type": "tags_edit", "add": add, "remove": remove})
    if change.note is not None:
        events.append({"type": "note", "text": checked_text(change.note, "note", lines=True)})
    if change.name is not None:
        events.append({"type": "name", "name": checked_text(change.name, "name")})
    if change.description is not None:
        text = checked_text(change.description, "description", lines=True)
        events.append({"type": "description", "description": text})
    if not events:
        raise InputError("nothing to change; give add_tags, remove_tags, note, name or description")
    folders = store.folders_of(change.ids)  # all of them, before anything is changed
    return Json({"edited": [info.experiment_id for info in edit_all(folders, *events)]})


@router.post("/experiments/delete")
def delete(store: Opened, what: Deletion) -> Json:
    """Move experiments to the trash: `{deleted: [ids]}`; all or, if a process writes to one of them, none."""
    from frameworm.experiment.keeping.trash import delete as move
    from frameworm.experiment.storage.folder import id_of, number_of

    store.check_writable()
    folders = store.folders_of(what.ids)
    ids = [id_of(number_of(folder.name) or 0) for folder in folders]
    move(store.root, folders, force=what.force)
    store.ask(lambda catalog: None)  # the catalog forgets them
    return Json({"deleted": ids})


@router.post("/experiments/restore")
def restore(store: Opened, what: Restoration) -> Json:
    """Bring experiments back from the trash: `{restored: [ids]}`."""
    from frameworm.experiment.keeping.trash import TRASH, entries
    from frameworm.experiment.keeping.trash import restore as bring_back
    from frameworm.experiment.storage.folder import HIDDEN, not_found

    store.check_writable()
    known = {entry.experiment_id for entry in entries(store.root)}
    if missing := [one for one in what.ids if one not in known]:  # before anything is moved
        raise not_found(store.root / HIDDEN / TRASH, missing, sorted(known))
    for one in dict.fromkeys(what.ids):
        bring_back(store.root, one)
    store.ask(lambda catalog: None)  # the catalog enters them
    return Json({"restored": what.ids})
