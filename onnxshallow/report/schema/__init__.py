"""The JSON reports. Their fields are part of the contract with scripts: additions are allowed, changes are not."""
