"""nextcord: what a bot usually does, against the server at DISCORD_API_URL."""

import os

import nextcord

nextcord.http.Route.BASE = os.environ["DISCORD_API_URL"]

client = nextcord.Client(intents=nextcord.Intents.default())


@client.slash_command(description="Greets")
async def hello(interaction: nextcord.Interaction, name: str) -> None:
    await interaction.response.send_message(f"hello {name}")


@client.slash_command(description="Does what bots do")
async def work(interaction: nextcord.Interaction) -> None:
    await interaction.response.defer()
    async with interaction.channel.typing():
        message = await interaction.channel.send("first")
    await message.edit(content="second")
    await message.add_reaction("👍")
    fetched = await interaction.channel.fetch_message(message.id)
    assert fetched.content == "second"
    assert [str(each.emoji) for each in fetched.reactions] == ["👍"]
    assert [user.id async for user in fetched.reactions[0].users()] == [client.user.id]
    assert [each.content async for each in interaction.channel.history(limit=1)] == ["second"]
    await message.remove_reaction("👍", client.user)
    await message.delete()
    await interaction.edit_original_message(content="done")
    followup = await interaction.followup.send("more", wait=True)
    await followup.edit(content="more, edited")
    await followup.delete()


client.run(os.environ["DISCORD_BOT_TOKEN"])
