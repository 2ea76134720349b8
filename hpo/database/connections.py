"""What an action on the database is given, for those who write no statements of their own."""

from sqlalchemy import Connection as Connection
from sqlalchemy import Row as Row
from sqlalchemy import Table as Table
